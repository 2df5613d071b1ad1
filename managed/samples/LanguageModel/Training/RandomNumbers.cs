namespace LanguageModel.Training;

/// <summary>SplitMix64: a few lines, and the same numbers on every machine and every version of .NET.</summary>
/// <remarks>Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.</remarks>
internal struct RandomNumbers(ulong seed, ulong stream)
{
    private ulong _state = Mix(seed + (Increment * (stream + 1)));

    private const ulong Increment = 0x9E3779B97F4A7C15;

    public ulong NextUInt64() => Mix(_state += Increment);

    /// <summary>Uniform in [0, 1).</summary>
    public double NextDouble() => (NextUInt64() >> 11) * (1.0 / (1UL << 53));

    /// <summary>Uniform in [0, exclusiveMaximum).</summary>
    public int NextInt32(int exclusiveMaximum) => (int)Math.BigMul(NextUInt64(), (ulong)exclusiveMaximum, out _);

    /// <summary>Standard normal, by Box and Muller.</summary>
    public double NextGaussian() =>
        Math.Sqrt(-2 * Math.Log(1 - NextDouble())) * Math.Cos(2 * Math.PI * NextDouble());

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
