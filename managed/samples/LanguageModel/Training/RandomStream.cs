namespace LanguageModel.Training;

/// <summary>Keeps the random numbers of different purposes apart: the streams of one seed that <see cref="RandomNumbers"/> gives.</summary>
internal static class RandomStream
{
    /// <summary>Plus the parameter's index: initial values.</summary>
    public const ulong Parameters = 0;

    /// <summary>Sampled text.</summary>
    public const ulong Sampling = 1UL << 32;

    /// <summary>Plus the epoch: the order of the training windows.</summary>
    public const ulong Data = 1UL << 33;
}
