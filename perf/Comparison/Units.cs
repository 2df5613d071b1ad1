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

    /// <summary>The library's speed over its own on f32 inputs; more is better.</summary>
    public const string TimesFloat32 = "x_f32";

    /// <summary>The time per flop over the time per flop of S = 2048 positions; less is better.</summary>
    public const string TimePerFlopOfS2048 = "x_S2048";

    /// <summary>The time per flop that counts over the time per flop without a mask; less is better.</summary>
    public const string TimePerFlopOfFull = "x_full";

    /// <summary>The time per row over the time per row of N = 1024 rows; less is better.</summary>
    public const string TimePerRow = "x_N1024";

    /// <summary>The largest <see cref="TimePerRow"/> over the smallest; less is better.</summary>
    public const string TimeSpread = "max/min";

    /// <summary>The workspace that a context holds after the call, in 10^6 bytes; less is better.</summary>
    public const string WorkspaceMegabytes = "workspace_MB";

    /// <summary>The share of micro-tiles that the filter left out of the product that gives dEmbeddings.</summary>
    public const string SkippedOfDEmbeddings = "d_embeddings_skipped";

    /// <summary>The share of micro-tiles that the filter left out of the product that gives dClassifier.</summary>
    public const string SkippedOfDClassifier = "d_classifier_skipped";

    /// <summary>The largest probability that the filter dropped from a row.</summary>
    public const string DroppedProbability = "dropped_probability";

    /// <summary>The filtered dEmbeddings less the exact one, over the exact one, in Frobenius norms.</summary>
    public const string DEmbeddingsError = "d_embeddings_error";

    /// <summary>The bound on <see cref="DEmbeddingsError"/> from the call's report.</summary>
    public const string DEmbeddingsErrorBound = "d_embeddings_error_bound";

    /// <summary>The filtered dClassifier less the exact one, over the exact one, in Frobenius norms.</summary>
    public const string DClassifierError = "d_classifier_error";

    /// <summary>The bound on <see cref="DClassifierError"/> from the call's report.</summary>
    public const string DClassifierErrorBound = "d_classifier_error_bound";

    /// <summary>Nanoseconds per call; less is better.</summary>
    public const string Nanoseconds = "ns";

    /// <summary>Bytes allocated on the managed heap per call; less is better.</summary>
    public const string Bytes = "B";

    /// <summary>Peak resident memory beyond inputs and outputs, in 10^6 bytes; less is better.</summary>
    public const string Megabytes = "MB";

    /// <summary>Whether a larger figure in the unit is the better one.</summary>
    public static bool MoreIsBetter(string unit) => unit is OfPeak or OfBandwidth or TimesPeer or TimesFloat32;
}
