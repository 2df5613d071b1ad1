using LanguageModel.Training;

namespace LanguageModel;

/// <summary>What the command line says; null where it says nothing.</summary>
internal sealed record CommandLineOptions
{
    public string? Text { get; init; }

    public int? Vocabulary { get; init; }

    public int? Layers { get; init; }

    public int? Dim { get; init; }

    public int? Heads { get; init; }

    public int? KvHeads { get; init; }

    public int? Context { get; init; }

    public int? Window { get; init; }

    public int? Batch { get; init; }

    public int? Steps { get; init; }

    public double? Minutes { get; init; }

    public ulong? Seed { get; init; }

    public float? LearningRate { get; init; }

    public LossKind? Loss { get; init; }

    public int Threads { get; init; }

    public string Output { get; init; } = "out";

    public string? Checkpoint { get; init; }

    public bool Resume { get; init; }

    public bool NoCompare { get; init; }

    public string Prompt { get; init; } = "";

    public string CheckpointPath => Checkpoint ?? DefaultCheckpoint(Output);

    public static string DefaultCheckpoint(string output) => Path.Combine(output, "checkpoint.bin");

    /// <summary>The settings of a new run.</summary>
    public TrainingSettings NewSettings() => ApplyTo(new TrainingSettings());

    /// <summary>The settings of a run that goes on: the checkpoint's, which the command line may repeat but not change.</summary>
    public TrainingSettings ResumedSettings(TrainingSettings stored)
    {
        string[] differences =
        [
            .. Named(stored).Zip(Named(ApplyTo(stored))).Where(pair => pair.First != pair.Second)
                .Select(pair => $"{pair.First} (not {pair.Second.Split(' ')[1]})"),
        ];
        if (differences.Length == 0)
        {
            return stored;
        }

        throw new UserException($"The checkpoint's run has {string.Join(", ", differences)}; leave that out to resume it, or start a new run without --resume.");
    }

    private TrainingSettings ApplyTo(TrainingSettings settings) => settings with
    {
        Vocabulary = Vocabulary ?? settings.Vocabulary,
        Layers = Layers ?? settings.Layers,
        Dim = Dim ?? settings.Dim,
        Heads = Heads ?? settings.Heads,
        KvHeads = KvHeads ?? settings.KvHeads,
        Context = Context ?? settings.Context,
        Window = Window ?? settings.Window,
        Batch = Batch ?? settings.Batch,
        Steps = Steps ?? settings.Steps,
        Seed = Seed ?? settings.Seed,
        LearningRate = LearningRate ?? settings.LearningRate,
        Loss = Loss ?? settings.Loss,
    };

    private static string[] Named(TrainingSettings settings) =>
    [
        $"--vocab {settings.Vocabulary}", $"--layers {settings.Layers}", $"--dim {settings.Dim}", $"--heads {settings.Heads}",
        $"--kv-heads {settings.KvHeads ?? settings.Heads}", $"--context {settings.Context}",
        $"--window {settings.Window ?? settings.Context}", $"--batch {settings.Batch}", $"--steps {settings.Steps}", $"--seed {settings.Seed}",
        $"--lr {settings.LearningRate}", $"--loss {settings.Loss.ToString().ToLowerInvariant()}",
    ];
}
