namespace FusedKernels.Perf.Operations;

/// <summary>Reproducible inputs. They are written in place, so that no scratch memory shows in the memory figures.</summary>
internal static class RandomArrays
{
    /// <summary>Values with mean 0, evenly spread, with the given standard deviation.</summary>
    public static float[] Uniform(int count, int seed, double standardDeviation = 1) =>
        Uniform(count, seed, standardDeviation, value => value);

    /// <summary>The same values, rounded.</summary>
    public static BFloat16[] UniformBFloat16(int count, int seed, double standardDeviation = 1) =>
        Uniform(count, seed, standardDeviation, value => (BFloat16)value);

    /// <summary>Normally distributed values with mean 0 and the given standard deviation: Box and Muller, 1958.</summary>
    public static float[] Normal(int count, int seed, double standardDeviation)
    {
        Random random = new(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; i += 2)
        {
            float radius = (float)standardDeviation * MathF.Sqrt(-2 * MathF.Log(1 - random.NextSingle()));
            (float sin, float cos) = MathF.SinCos(MathF.Tau * random.NextSingle());
            values[i] = radius * cos;
            if (i + 1 < count) values[i + 1] = radius * sin;
        }

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

    private static T[] Uniform<T>(int count, int seed, double standardDeviation, Func<float, T> round)
    {
        Random random = new(seed);
        T[] values = new T[count];
        float halfWidth = (float)(standardDeviation * Math.Sqrt(3));
        for (int i = 0; i < count; i++) values[i] = round(halfWidth * ((2 * random.NextSingle()) - 1));
        return values;
    }
}
