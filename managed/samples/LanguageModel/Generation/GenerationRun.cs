using FusedKernels;
using LanguageModel.Data;
using LanguageModel.Model;
using LanguageModel.Report;
using LanguageModel.Training;

namespace LanguageModel.Generation;

/// <summary>The job of <c>generate</c>: continues a text with a trained model and reports its speed.</summary>
internal sealed class GenerationRun(GenerationOptions options)
{
    public int Run()
    {
        Checkpoint checkpoint = Checkpoint.Open(options.Checkpoint);
        TrainingSettings settings = checkpoint.Header.Settings;
        TextData text = TextData.Load(options.Text, settings.Vocabulary);
        checkpoint.RequireText(text);
        Transformer model = new(settings.ModelShape(text.Vocabulary.Count), new CutLossHead(), settings.Context);
        checkpoint.Restore(model.Parameters);

        using FusedContext context = FusedContext.Cpu(options.Threads);
        TransformerCache? cache = options.Cache is { } precision ? model.NewCache(settings.Context, precision) : null;
        NextTokenScorer scorer = new(context, model, settings.Context, cache);
        int[] prompt = Prompt(text, settings.Context / 2);

        // Starts the threads, compiles the code and touches the memory, which the figures should not contain.
        _ = NewGenerator().Continue(prompt).Take(2).Count();
        Generator generator = NewGenerator();
        int[] tokens = [.. generator.Continue(prompt).Take(options.Tokens)];

        Console.WriteLine($"Given:     {text.Vocabulary.Decode(prompt)}");
        Console.WriteLine($"Continued: {text.Vocabulary.Decode(tokens)}");
        FinalReport.WriteSpeed(generator.Prefill, generator.Decode);
        Console.WriteLine(cache is null
            ? "Without a key-value cache: every token computes all tokens before it again."
            : $"Key-value cache: {Units.Count(cache.Bytes)} bytes for {settings.Context} tokens.");
        return 0;

        Generator NewGenerator() =>
            new(scorer, new TokenSampler(text.Vocabulary.Count, options.Temperature, options.Seed), text.Vocabulary);
    }

    private int[] Prompt(TextData text, int heldOutTokens) => options.Prompt.Length > 0
        ? [Vocabulary.Boundary, .. text.Vocabulary.EncodeText(options.Prompt)]
        : [.. text.Validation.Take(heldOutTokens)];
}
