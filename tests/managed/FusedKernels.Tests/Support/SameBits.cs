namespace FusedKernels.Tests.Support;

/// <summary>Holds an operator to the promise that the number of threads does not change a bit of its result.</summary>
internal static class SameBits
{
    public static void AcrossThreads(string backend, Func<FusedContext, int[]> run)
    {
        int[]? expected = null;
        foreach (int threads in (int[])[1, 2, 3, 7])
        {
            using FusedContext context = Backends.Create(backend, threads);
            Assert.AreEqual(threads, context.Threads);
            int[] bits = run(context);
            expected ??= bits;
            CollectionAssert.AreEqual(expected, bits, $"{threads} threads");
        }
    }
}
