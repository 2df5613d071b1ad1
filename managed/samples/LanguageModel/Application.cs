using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using FusedKernels;
using LanguageModel.Generation;
using LanguageModel.Model;
using LanguageModel.NGrams;
using LanguageModel.Report;
using LanguageModel.Data;
using LanguageModel.Training;
using Spectre.Console;

namespace LanguageModel;

/// <summary>The main job: reads the text, trains, reports and lets the model write.</summary>
internal sealed class Application(CommandLineOptions options)
{
    private const int Interrupted = 130;
    private const int SampleSentences = 6;

    /// <summary>What a run takes when the command line gives neither steps nor minutes, also on a slow machine.</summary>
    private const double DefaultMinutes = 3.5;

    private readonly Stopwatch _stopwatch = Stopwatch.StartNew();

    public int Run()
    {
        Checkpoint? checkpoint = options.Resume ? Checkpoint.Open(options.CheckpointPath) : null;
        TrainingSettings settings = checkpoint is null ? options.NewSettings() : options.ResumedSettings(checkpoint.Header.Settings);
        settings.Validate();
        PrepareOutput();

        TextData text = TextData.Load(options.Text, settings.Vocabulary);
        WriteTextSummary(text);
        checkpoint?.RequireText(text);
        IReadOnlyList<Baseline> baselines = Baseline.MeasureAll(text);

        // The text's strings and the n-gram tables are garbage now; the model should use their memory, not add to it.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);

        using FusedContext context = FusedContext.Cpu(options.Threads);
        int vocabularySize = text.Vocabulary.Count;
        Trainer trainer = new(context, settings, vocabularySize, text.Training, Trainer.CreateLossHead(settings, vocabularySize));
        if (checkpoint is null)
        {
            settings = settings with { Steps = ChooseSteps(trainer, settings) };
            trainer.Reset(settings.Steps);
        }
        else
        {
            trainer.Resume(checkpoint);
        }

        WriteModelSummary(trainer, settings, context);
        TrainingHistory history = checkpoint?.Header.History ?? new TrainingHistory();
        bool finished = Train(trainer, settings, text, history);
        EvaluationSet evaluation = new(text.Validation, settings.Context, (long)settings.Steps * settings.TokensPerStep / 4);
        List<(string Model, double Loss)> losses = [.. baselines.Select(model => (model.Name, evaluation.MeanLoss(model.TokenLosses)))];
        WritePlot(history, losses);
        if (!finished)
        {
            Console.WriteLine($"Stopped after step {trainer.StepsDone} of {settings.Steps}. Go on with --resume.");
            return Interrupted;
        }

        losses.Add(("transformer", trainer.Evaluate(evaluation)));
        FinalReport.WritePerplexities(losses, evaluation.TokenCount);
        FinalReport.WriteMemory(settings, vocabularySize);
        TransformerCache cache = trainer.Model.NewCache(settings.Context, KvPrecision.Float);
        WriteSample(new Generator(
            new NextTokenScorer(context, trainer.Model, settings.Context, cache),
            new TokenSampler(vocabularySize, TokenSampler.DefaultTemperature, settings.Seed),
            text.Vocabulary));
        if (!options.NoCompare)
        {
            (LossMeasurement cut, LossMeasurement materialised) = LossComparison.Run(settings, text, options.Threads);
            FinalReport.WriteComparison(cut, materialised);
        }

        Console.WriteLine($"Done in {Units.Duration(_stopwatch.Elapsed)}.");
        return 0;
    }

    private bool Train(Trainer trainer, TrainingSettings settings, TextData text, TrainingHistory history)
    {
        using CancellationTokenSource interrupted = new();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        ITrainingDisplay display = AnsiConsole.Profile.Out.IsTerminal ? new BarDisplay() : new LineDisplay(Console.Out);
        return new TrainingRun(trainer, settings, text, options.CheckpointPath, history).Train(display, interrupted.Token);

        // A second signal ends the process at once, as it would without this handler.
        void Stop(PosixSignalContext signal)
        {
            signal.Cancel = !interrupted.IsCancellationRequested;
            interrupted.Cancel();
        }
    }

    /// <summary>A new run replaces the checkpoint of an earlier one, and nothing else.</summary>
    private void PrepareOutput()
    {
        Directory.CreateDirectory(options.Output);
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(options.CheckpointPath))!);
        if (File.Exists(options.CheckpointPath) && !Checkpoint.IsCheckpoint(options.CheckpointPath))
        {
            throw new UserException(
                $"--checkpoint: '{options.CheckpointPath}' exists and is not a checkpoint of this program. Nothing was changed; "
                + "name another file.");
        }
    }

    private int ChooseSteps(Trainer trainer, TrainingSettings settings)
    {
        if (options.Steps is not null)
        {
            return settings.Steps;
        }

        TimeSpan time = TimeSpan.FromMinutes(options.Minutes ?? DefaultMinutes) - _stopwatch.Elapsed;
        int steps = StepBudget.Measure(trainer, time);
        return options.Minutes is null ? Math.Min(steps, settings.Steps) : steps;
    }

    private static void WriteTextSummary(TextData text)
    {
        double unknown = text.Validation.Count(token => token == Vocabulary.Unknown) / (double)text.Validation.Length;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Text: {text.FileCount} files, {Units.Count(text.Training.Length)} training and {Units.Count(text.Validation.Length)} validation tokens; "
            + $"vocabulary {Units.Count(text.Vocabulary.Count)} of {Units.Count(text.Vocabulary.DifferentWords)} words, {unknown:P1} of validation unknown."));
    }

    private static void WriteModelSummary(Trainer trainer, TrainingSettings settings, FusedContext context)
    {
        string kvHeads = settings.KvHeads is { } count && count != settings.Heads ? $" ({count} of keys and values)" : "";
        string window = settings.Window is { } tokens ? $", window {tokens}" : "";
        double epochs = (double)settings.Steps * settings.TokensPerStep / trainer.TokensPerEpoch;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Model: {settings.Layers} layers of {settings.Dim}, {settings.Heads} heads{kvHeads}{window}, {Units.Count(trainer.Model.Parameters.Count)} parameters; "
            + $"{context.Threads} threads of {FusedContext.InstructionSet}."));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Training: --steps {settings.Steps} --seed {settings.Seed} of {Units.Count(settings.TokensPerStep)} tokens ({epochs:F2} passes over the text)."));
    }

    private void WritePlot(TrainingHistory history, IReadOnlyList<(string Model, double Loss)> references)
    {
        if (history.TrainingLosses.Count == 0)
        {
            return;
        }

        string path = Path.Combine(options.Output, "loss.svg");
        File.WriteAllText(path, LossPlot.Draw(history, references));
        Console.WriteLine($"Loss curves: {path}   checkpoint: {options.CheckpointPath}");
    }

    private void WriteSample(Generator generator)
    {
        Console.WriteLine();
        Console.WriteLine("The model writes:");
        foreach (string sentence in generator.Sentences(options.Prompt, SampleSentences))
        {
            Console.WriteLine($"  {sentence}");
        }

        Console.WriteLine();
    }
}
