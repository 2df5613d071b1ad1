using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using LanguageModel.Generation;
using LanguageModel.Report;
using LanguageModel.Training;

namespace LanguageModel;

/// <summary>The options of the program, with their help texts.</summary>
internal static class CommandLine
{
    private static readonly TrainingSettings Defaults = new();

    /// <param name="run">Runs the main job and returns the exit code.</param>
    /// <param name="generate">Runs the command <c>generate</c> and returns the exit code.</param>
    public static RootCommand Create(Func<CommandLineOptions, int> run, Func<GenerationOptions, int> generate)
    {
        Option<string?> text = Text();
        Option<int?> vocabulary = Number<int>("--vocab", "Most words in the vocabulary", Defaults.Vocabulary);
        Option<int?> layers = Number<int>("--layers", "Transformer blocks", Defaults.Layers);
        Option<int?> dim = Number<int>("--dim", "Width of the model", Defaults.Dim);
        Option<int?> heads = Number<int>("--heads", "Attention heads", Defaults.Heads);
        Option<int?> kvHeads = new("--kv-heads") { HelpName = "NUMBER", Description = "Heads of keys and values, which groups of attention heads share [--heads]" };
        Option<int?> context = Number<int>("--context", "Tokens that the model sees at once", Defaults.Context);
        Option<int?> window = new("--window") { HelpName = "NUMBER", Description = "Tokens that a token attends to, itself included [all before it]" };
        Option<int?> batch = Number<int>("--batch", "Sequences per step", Defaults.Batch);
        Option<int?> steps = Number<int>("--steps", "Training steps", Defaults.Steps);
        Option<double?> minutes = new("--minutes") { HelpName = "NUMBER", Description = "Choose --steps so that the whole run takes about this long" };
        Option<float?> learningRate = Number<float>("--lr", "Peak learning rate", Defaults.LearningRate);
        Option<ulong?> seed = Number<ulong>("--seed", "Seed of initial values, data order and sampling", Defaults.Seed);
        Option<LossKind?> loss = Choice<LossKind>(
            "--loss", "Cut cross-entropy, or through stored logits", ("cut", LossKind.Cut), ("materialised", LossKind.Materialised));
        Option<int> threads = Threads();
        Option<string> output = Output();
        Option<string?> checkpoint = Checkpoint();
        Option<bool> resume = new("--resume") { Description = "Go on from the checkpoint, with its settings" };
        Option<bool> noCompare = new("--no-compare") { Description = "Leave out the comparison of the two losses" };
        Option<string> prompt = new("--prompt") { HelpName = "TEXT", Description = "How the sample sentences start", DefaultValueFactory = _ => "" };
        Positive(minutes);

        RootCommand root = new("Trains a small language model on the fused kernels and prints text that it generates.")
        {
            text, vocabulary, layers, dim, heads, kvHeads, context, window, batch, steps, minutes, learningRate, seed, loss, threads,
            output, checkpoint, resume, noCompare, prompt,
        };
        root.Validators.Add(result =>
        {
            if (result.GetResult(steps) is not null && result.GetResult(minutes) is not null)
            {
                result.AddError("Give --steps or --minutes, not both: --minutes chooses the number of steps.");
            }

            if (result.GetResult(resume) is { Implicit: false } && result.GetResult(minutes) is not null)
            {
                result.AddError("--minutes chooses the steps of a new run; with --resume the checkpoint says how many there are.");
            }
        });
        root.SetAction(result => run(new CommandLineOptions
        {
            Text = result.GetValue(text),
            Vocabulary = result.GetValue(vocabulary),
            Layers = result.GetValue(layers),
            Dim = result.GetValue(dim),
            Heads = result.GetValue(heads),
            KvHeads = result.GetValue(kvHeads),
            Context = result.GetValue(context),
            Window = result.GetValue(window),
            Batch = result.GetValue(batch),
            Steps = result.GetValue(steps),
            Minutes = result.GetValue(minutes),
            LearningRate = result.GetValue(learningRate),
            Seed = result.GetValue(seed),
            Loss = result.GetValue(loss),
            Threads = result.GetValue(threads),
            Output = result.GetValue(output)!,
            Checkpoint = result.GetValue(checkpoint),
            Resume = result.GetValue(resume),
            NoCompare = result.GetValue(noCompare),
            Prompt = result.GetValue(prompt)!,
        }));
        root.Add(GenerateCommand.Create(generate));
        root.Add(MeasureLoss());
        return root;
    }

    public static Option<string?> Text() =>
        new("--text") { HelpName = "PATH", Description = "File or folder (.xml documentation, .txt, .md) to learn from [the installed SDK's API reference]" };

    public static Option<string> Output() =>
        new("--output") { HelpName = "FOLDER", Description = "Where loss.svg and the checkpoint go", DefaultValueFactory = _ => "out" };

    public static Option<string?> Checkpoint() =>
        new("--checkpoint") { HelpName = "FILE", Description = "The checkpoint [checkpoint.bin in the output folder]" };

    public static Option<int> Threads()
    {
        Option<int> threads = new("--threads") { HelpName = "NUMBER", Description = "Threads of the native library [all processors]" };
        threads.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() < 0)
            {
                result.AddError($"{threads.Name} must be 0 (all processors) or more.");
            }
        });
        return threads;
    }

    /// <summary>An option that takes one of a few names, of which the first is the default.</summary>
    public static Option<T?> Choice<T>(string name, string description, params (string Name, T Value)[] choices)
        where T : struct
    {
        string[] names = [.. choices.Select(choice => choice.Name)];
        return new(name)
        {
            HelpName = string.Join('|', names),
            Description = $"{description} [{names[0]}]",
            CustomParser = Parse,
        };

        T? Parse(ArgumentResult result)
        {
            string given = result.Tokens.Single().Value;
            int index = Array.IndexOf(names, given);
            if (index >= 0)
            {
                return choices[index].Value;
            }

            result.AddError($"{name} is {string.Join(", ", names[..^1])} or {names[^1]}, not '{given}'.");
            return null;
        }
    }

    private static Command MeasureLoss()
    {
        Argument<string> task = new("task");
        Command command = new(LossComparison.ChildCommand) { task };
        command.Hidden = true;
        command.SetAction(result => LossComparison.RunTask(result.GetValue(task)!, Console.Out));
        return command;
    }

    private static Option<T?> Number<T>(string name, string description, T defaultValue)
        where T : struct, IFormattable =>
        new(name) { HelpName = "NUMBER", Description = $"{description} [{defaultValue.ToString(null, CultureInfo.InvariantCulture)}]" };

    private static void Positive(Option<double?> option) => option.Validators.Add(result =>
    {
        if (result.GetValueOrDefault<double?>() is not (> 0 and < 1e5))
        {
            result.AddError($"{option.Name} must be above 0 and below 100000.");
        }
    });
}
