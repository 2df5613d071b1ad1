using FusedKernels;
using LanguageModel.Data;
using LanguageModel.Training;

namespace LanguageModel.Tests.Training;

/// <summary>A small run on a small text.</summary>
internal sealed class TrainingFixture : IDisposable
{
    private readonly FusedContext _context;

    public TrainingFixture(TrainingSettings settings, int threads = 0)
    {
        Settings = settings;
        using TemporaryFolder folder = new();
        Text = TextData.Load(WriteText(folder), settings.Vocabulary);
        _context = FusedContext.Cpu(threads);
        Trainer = new Trainer(
            _context, settings, Text.Vocabulary.Count, Text.Training, Trainer.CreateLossHead(settings, Text.Vocabulary.Count));
    }

    public static TrainingSettings SmallSettings { get; } =
        new() { Vocabulary = 200, Layers = 2, Dim = 32, Heads = 2, Context = 16, Batch = 4, Steps = 20, LearningRate = 1e-2f };

    public TrainingSettings Settings { get; }

    public TextData Text { get; }

    public Trainer Trainer { get; }

    public static string WriteText(TemporaryFolder folder)
    {
        string[] verbs = ["Gets", "Sets", "Returns", "Removes"];
        string[] nouns = ["value", "name", "element", "key", "length", "culture"];
        string[] owners = ["list", "dictionary", "string", "stream", "thread"];
        IEnumerable<string> sentences =
            from verb in verbs from noun in nouns from owner in owners from count in new[] { "one", "each", "last" }
            select $"{verb} the {noun} of {count} {owner}.";
        return folder.Write("text.txt", string.Join("\n\n", sentences));
    }

    public float[] Train(int steps) => [.. Enumerable.Range(0, steps).Select(_ => Trainer.Step())];

    /// <summary>All bits that training changes.</summary>
    public float[] State() =>
        [.. Trainer.Model.Parameters.Items.SelectMany(p => p.Value.Data.Concat(p.FirstMoment).Concat(p.SecondMoment))];

    public void Dispose() => _context.Dispose();
}
