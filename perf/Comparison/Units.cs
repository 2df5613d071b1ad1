namespace FusedKernels.Perf.Comparison;

/// <summary>The units of <see cref="Measurement"/>.</summary>
internal static class Units
{
    /// <summary>Share of the machine's FMA peak; more is better.</summary>
    public const string OfPeak = "of_peak";

    /// <summary>Share of the machine's read bandwidth; more is better.</summary>
    public const string OfBandwidth = "of_bandwidth";

    /// <summary>The library's speed over the peer's; more is better, and the peer itself is 1.</summary>
    public const string TimesPeer = "x_peer";

    /// <summary>Nanoseconds per call; less is better.</summary>
    public const string Nanoseconds = "ns";

    /// <summary>Bytes allocated on the managed heap per call; less is better.</summary>
    public const string Bytes = "B";

    /// <summary>Peak resident memory beyond inputs and outputs, in 10^6 bytes; less is better.</summary>
    public const string Megabytes = "MB";

    /// <summary>Whether a larger figure in the unit is the better one.</summary>
    public static bool MoreIsBetter(string unit) => unit is OfPeak or OfBandwidth or TimesPeer;
}
