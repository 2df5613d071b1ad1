using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using FusedKernels;
using LanguageModel.Data;
using LanguageModel.Training;

namespace LanguageModel.Report;

/// <summary>
/// Makes the first steps of a run with both losses, each in a process of its own: the peak memory of a process cannot be
/// reset, and neither loss should see what the other has left.
/// </summary>
internal static class LossComparison
{
    /// <summary>The hidden command of the child process.</summary>
    public const string ChildCommand = "measure-loss";

    private const int MostSteps = 20;

    public static (LossMeasurement Cut, LossMeasurement Materialised) Run(TrainingSettings settings, TextData text, int threads)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("language-model-");
        try
        {
            return (Measure(LossKind.Cut), Measure(LossKind.Materialised));
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        LossMeasurement Measure(LossKind loss)
        {
            string task = Path.Combine(folder.FullName, "task");
            WriteTask(task, settings with { Loss = loss }, text, threads);
            return RunChild(task);
        }
    }

    /// <summary>The largest difference between the losses of a step, relative to the loss.</summary>
    public static double LargestDifference(LossMeasurement a, LossMeasurement b) =>
        a.Losses.Zip(b.Losses, (x, y) => Math.Abs(x - y) / Math.Abs((double)x)).Max();

    /// <summary>The child's side: trains as the task says and prints the measurement.</summary>
    public static void RunTask(string path, TextWriter output)
    {
        using BinaryReader reader = new(File.OpenRead(path));
        TrainingSettings settings = JsonSerializer.Deserialize<TrainingSettings>(reader.ReadString())!;
        int threads = reader.ReadInt32();
        int vocabularySize = reader.ReadInt32();
        int[] stream = new int[reader.ReadInt32()];
        reader.BaseStream.ReadExactly(MemoryMarshal.AsBytes(stream.AsSpan()));

        using FusedContext context = FusedContext.Cpu(threads);
        TimedLossHead lossHead = new(Trainer.CreateLossHead(settings, vocabularySize));
        Trainer trainer = new(context, settings, vocabularySize, stream, lossHead);
        output.WriteLine(JsonSerializer.Serialize(Measure(trainer, lossHead, Math.Min(settings.Steps, MostSteps))));
    }

    private static LossMeasurement Measure(Trainer trainer, TimedLossHead lossHead, int steps)
    {
        float[] losses = new float[steps];
        double[] stepSeconds = new double[steps];
        double[] lossSeconds = new double[steps];
        for (int i = 0; i < steps; i++)
        {
            long start = Stopwatch.GetTimestamp();
            losses[i] = trainer.Step();
            stepSeconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            lossSeconds[i] = lossHead.LastDuration.TotalSeconds;
        }

        return new LossMeasurement(losses, MedianOfLaterSteps(stepSeconds), MedianOfLaterSteps(lossSeconds), PeakMemory.Bytes);
    }

    /// <summary>The first step touches fresh memory and starts the threads; it is left out where there are others.</summary>
    private static double MedianOfLaterSteps(double[] seconds)
    {
        double[] sorted = [.. seconds.Skip(seconds.Length > 1 ? 1 : 0).Order()];
        return sorted[sorted.Length / 2];
    }

    private static void WriteTask(string path, TrainingSettings settings, TextData text, int threads)
    {
        using BinaryWriter writer = new(File.Create(path));
        writer.Write(JsonSerializer.Serialize(settings));
        writer.Write(threads);
        writer.Write(text.Vocabulary.Count);
        writer.Write(text.Training.Length);
        writer.Write(MemoryMarshal.AsBytes<int>(text.Training));
    }

    private static LossMeasurement RunChild(string task)
    {
        string program = Environment.ProcessPath!;
        bool startedByDotnet = Path.GetFileNameWithoutExtension(program) == "dotnet";
        string[] arguments = [.. startedByDotnet ? [typeof(LossComparison).Assembly.Location] : Array.Empty<string>(), ChildCommand, task];
        using Process child = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        return child.ExitCode == 0
            ? JsonSerializer.Deserialize<LossMeasurement>(output)!
            : throw new UserException($"The process that measures a loss failed with exit code {child.ExitCode}; --no-compare leaves it out.");
    }
}
