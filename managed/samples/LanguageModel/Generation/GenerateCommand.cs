using System.CommandLine;
using FusedKernels;
using LanguageModel.Training;

namespace LanguageModel.Generation;

/// <summary>The command <c>generate</c> with its options.</summary>
internal static class GenerateCommand
{
    private const int DefaultTokens = 100;

    /// <param name="run">Generates, and returns the exit code.</param>
    public static Command Create(Func<GenerationOptions, int> run)
    {
        Option<string?> text = CommandLine.Text();
        Option<string> output = CommandLine.Output();
        Option<string?> checkpoint = CommandLine.Checkpoint();
        Option<int> threads = CommandLine.Threads();
        Option<string> prompt = new("--prompt") { HelpName = "TEXT", Description = "How the text starts [held-out text, half a context length]", DefaultValueFactory = _ => "" };
        Option<int> tokens = new("--tokens") { HelpName = "NUMBER", Description = "Tokens to write", DefaultValueFactory = _ => DefaultTokens };
        Option<double> temperature = new("--temperature") { HelpName = "NUMBER", Description = "Divides the scores; 0 always takes the most likely token", DefaultValueFactory = _ => TokenSampler.DefaultTemperature };
        Option<ulong> seed = new("--seed") { HelpName = "NUMBER", Description = "Seed of the sampling", DefaultValueFactory = _ => 1 };
        Option<KvPrecision?> precision = CommandLine.Choice<KvPrecision>(
            "--kv-precision", "How the cache stores keys and values", ("f32", KvPrecision.Float), ("bf16", KvPrecision.BFloat16), ("int8", KvPrecision.Int8));
        Option<bool> noCache = new("--no-cache") { Description = "Compute all tokens again for each new one, for comparison" };

        tokens.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() < 1)
            {
                result.AddError("--tokens must be at least 1.");
            }
        });
        temperature.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double>() is not (>= 0 and <= 100))
            {
                result.AddError("--temperature must be between 0 and 100.");
            }
        });

        Command command = new("generate", "Continues a text with the model of a checkpoint, and prints how fast.")
        {
            text, output, checkpoint, prompt, tokens, temperature, seed, precision, noCache, threads,
        };
        command.Validators.Add(result =>
        {
            if (result.GetResult(noCache) is { Implicit: false } && result.GetResult(precision) is not null)
            {
                result.AddError("Give --kv-precision or --no-cache, not both.");
            }
        });
        command.SetAction(result => run(new GenerationOptions
        {
            Text = result.GetValue(text),
            Checkpoint = result.GetValue(checkpoint) ?? CommandLineOptions.DefaultCheckpoint(result.GetValue(output)!),
            Prompt = result.GetValue(prompt)!,
            Tokens = result.GetValue(tokens),
            Temperature = result.GetValue(temperature),
            Seed = result.GetValue(seed),
            Cache = result.GetValue(noCache) ? null : result.GetValue(precision) ?? KvPrecision.Float,
            Threads = result.GetValue(threads),
        }));
        return command;
    }
}
