using System.Numerics.Tensors;

namespace FusedKernels.Tests.Support;

/// <summary>An array of any axes, in which an axis of extent 1 means the same for all, and room for its
/// gradient.</summary>
internal sealed class TestArray
{
    private readonly nint[] _lengths;

    public TestArray(params int[] lengths)
    {
        _lengths = [.. lengths.Select(length => (nint)length)];
        Elements = new float[lengths.Aggregate(1, (product, length) => product * length)];
        Gradient = new float[Elements.Length];
        Array.Fill(Gradient, float.NaN);
    }

    public float[] Elements { get; }

    public float[] Gradient { get; }

    public ReadOnlyTensorSpan<float> Span => new(Elements, _lengths);

    public TensorSpan<float> GradientSpan => new(Gradient, _lengths);

    /// <summary>Uniform in [low, high].</summary>
    public static TestArray Random(int seed, float low, float high, params int[] lengths)
    {
        TestArray array = new(lengths);
        Random random = new(seed);
        foreach (ref float element in array.Elements.AsSpan()) element = low + (high - low) * random.NextSingle();
        return array;
    }

    public int Length(Index axis) => (int)_lengths[axis];

    /// <summary>Where in <see cref="Elements"/> an element is; leading axes that the array lacks do not matter.</summary>
    public int IndexOf(params ReadOnlySpan<int> at)
    {
        int index = 0;
        at = at[^_lengths.Length..];
        for (int axis = 0; axis < at.Length; axis++)
            index = index * Length(axis) + (Length(axis) == 1 ? 0 : at[axis]);
        return index;
    }
}
