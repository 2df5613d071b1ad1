using LanguageModel.Model;

namespace LanguageModel.Training;

/// <summary>Everything that decides the bits of a run, beside the text. A checkpoint holds it, and resuming takes it from there.</summary>
internal sealed record TrainingSettings
{
    public int Vocabulary { get; init; } = 16384;

    public int Layers { get; init; } = 4;

    public int Dim { get; init; } = 256;

    public int Heads { get; init; } = 4;

    /// <summary>Heads of keys and values; null: as many as <see cref="Heads"/>.</summary>
    public int? KvHeads { get; init; }

    public int Context { get; init; } = 128;

    /// <summary>Tokens that a token attends to, itself included; null: all of <see cref="Context"/>.</summary>
    public int? Window { get; init; }

    public int Batch { get; init; } = 4;

    public int Steps { get; init; } = 800;

    public ulong Seed { get; init; } = 1;

    public float LearningRate { get; init; } = 1.5e-3f;

    public LossKind Loss { get; init; } = LossKind.Cut;

    public int TokensPerStep => Batch * Context;

    /// <param name="vocabularySize">Of the text: at most <see cref="Vocabulary"/>.</param>
    public ModelShape ModelShape(int vocabularySize) => new(vocabularySize, Layers, Dim, Heads, KvHeads ?? Heads, Window);

    /// <summary>Refuses what no run can have, and names the options that must change.</summary>
    public void Validate()
    {
        Require(Vocabulary is >= 3 and <= 1 << 20, $"--vocab {Vocabulary} must be between 3 and {1 << 20}.");
        Require(Layers is >= 1 and <= 100, $"--layers {Layers} must be between 1 and 100.");
        Require(Dim is >= 2 and <= 8192, $"--dim {Dim} must be between 2 and 8192.");
        Require(Heads >= 1, $"--heads {Heads} must be at least 1.");
        Require(
            Dim % (2 * (long)Heads) == 0,
            $"--heads {Heads} does not fit --dim {Dim}: rotary positions turn pairs of columns, so every head needs an even "
            + $"number of them and --dim must be a multiple of {2L * Heads}.");
        Require(
            KvHeads is null || (KvHeads >= 1 && Heads % KvHeads == 0),
            $"--kv-heads {KvHeads} does not fit --heads {Heads}: each head of keys and values serves the same number of heads of "
            + $"queries, so --heads must be a multiple of it.");
        Require(Context is >= 2 and <= 65536, $"--context {Context} must be between 2 and 65536.");
        Require(Window is null or >= 1, $"--window {Window} must be at least 1, a token itself.");
        Require(Batch >= 1, $"--batch {Batch} must be at least 1.");
        Require(
            (long)Batch * Context * 16L * Dim < int.MaxValue,
            $"--batch {Batch} x --context {Context} tokens of --dim {Dim} are too many for one step; lower one of them.");
        Require((long)Vocabulary * Dim < int.MaxValue, $"--vocab {Vocabulary} x --dim {Dim} is too large for one matrix.");
        Require(
            Loss == LossKind.Cut || (long)Batch * Context * Vocabulary < int.MaxValue,
            $"--loss materialised stores --batch {Batch} x --context {Context} x --vocab {Vocabulary} logits, more than one "
            + "array holds; lower one of them, or use --loss cut, which stores none.");
        Require(Steps >= 1, $"--steps {Steps} must be at least 1.");
        Require(LearningRate is > 0 and <= 1, $"--lr {LearningRate} must be above 0 and at most 1.");
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new UserException(message);
        }
    }
}
