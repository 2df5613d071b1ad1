namespace FusedKernels.Perf.Operations;

/// <summary>Reproducible inputs. They are written in place, so that no scratch memory shows in the memory figures.</summary>
internal static class RandomArrays
{
    /// <summary>Values with mean 0, evenly spread, with the given standard deviation.</summary>
    public static float[] Uniform(int count, int seed, double standardDeviation = 1)
    {
        Random random = new(seed);
        float[] values = new float[count];
        float halfWidth = (float)(standardDeviation * Math.Sqrt(3));
        for (int i = 0; i < count; i++) values[i] = halfWidth * ((2 * random.NextSingle()) - 1);
        return values;
    }

    /// <summary>Indices in [0, <paramref name="limit"/>).</summary>
    public static int[] Indices(int count, int limit, int seed)
    {
        Random random = new(seed);
        int[] indices = new int[count];
        for (int i = 0; i < count; i++) indices[i] = random.Next(limit);
        return indices;
    }

    /// <summary>An output: zeros that were written, because pages count as resident only then.</summary>
    public static float[] Output(int count)
    {
        float[] values = new float[count];
        Array.Fill(values, 0f);
        return values;
    }
}
