namespace LanguageModel.Training;

/// <summary>What a checkpoint says about itself, ahead of the parameters.</summary>
internal sealed class CheckpointHeader
{
    public required TrainingSettings Settings { get; init; }

    /// <summary>Of the token streams and the vocabulary: <see cref="Data.TextData.Fingerprint"/>.</summary>
    public required string TextFingerprint { get; init; }

    public required int StepsDone { get; init; }

    public required TrainingHistory History { get; init; }

    /// <summary>Name and number of elements of each parameter, in the order of the file.</summary>
    public required IReadOnlyList<ParameterEntry> Parameters { get; init; }

    internal readonly record struct ParameterEntry(string Name, int Count);
}
