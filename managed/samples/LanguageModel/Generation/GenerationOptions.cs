using FusedKernels;

namespace LanguageModel.Generation;

/// <summary>What the command line of <c>generate</c> says.</summary>
internal sealed record GenerationOptions
{
    public string? Text { get; init; }

    public required string Checkpoint { get; init; }

    /// <summary>"": the start of the held-out text.</summary>
    public string Prompt { get; init; } = "";

    public int Tokens { get; init; }

    public double Temperature { get; init; }

    public ulong Seed { get; init; }

    /// <summary>Of the key-value cache; null: there is none.</summary>
    public KvPrecision? Cache { get; init; }

    public int Threads { get; init; }
}
