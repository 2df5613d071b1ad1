namespace FusedKernels.Tests.Support;

/// <summary>Extents around the places where kernels change their path: one lane, one vector, one tile, and beside them.</summary>
internal static class Sizes
{
    public static readonly int[] Odd = [1, 2, 3, 17, 63, 65, 129];

    /// <summary>Triples in which every odd size meets every other along each pair of axes, without all 343 products.</summary>
    public static IEnumerable<(int M, int N, int K)> Triples()
    {
        for (int i = 0; i < Odd.Length; i++)
            for (int j = 0; j < Odd.Length; j++)
                yield return (Odd[i], Odd[j], Odd[(i + 3 * j) % Odd.Length]);
    }
}
