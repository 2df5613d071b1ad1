using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using LanguageModel.Tests.Training;

namespace LanguageModel.Tests;

/// <summary>Runs the program as a user does, on a small text and with a small model.</summary>
[TestClass]
public sealed class ProgramTests
{
    private const string SmallModel = "--layers 1 --dim 32 --heads 2 --context 16 --batch 4 --vocab 200";

    // A job that a script starts in the background ignores SIGINT, and so do its children, this test's among them: env gives
    // the program the disposition that it has in a terminal. It becomes the program, so the process id is the program's.
    private static Process Start(string arguments)
    {
        string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        string command = $"\"{typeof(Application).Assembly.Location}\" {arguments}";
        ProcessStartInfo start = OperatingSystem.IsLinux()
            ? new("env", $"--default-signal=INT \"{dotnet}\" {command}")
            : new(dotnet, command);
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        return Process.Start(start)!;
    }

    private static (int ExitCode, string Output, string Error) Run(string arguments)
    {
        using Process process = Start(arguments);
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }

    private static string Arguments(TemporaryFolder folder, string output) =>
        $"--text \"{TrainingFixture.WriteText(folder)}\" {SmallModel} --output \"{folder[output]}\"";

    [TestMethod]
    public void A_smoke_run_reports_everything()
    {
        using TemporaryFolder folder = new();
        (int exitCode, string output, string error) = Run($"{Arguments(folder, "out")} --steps 20 --prompt \"Gets the\"");

        Assert.AreEqual(0, exitCode, error);
        StringAssert.Contains(output, "step 20/20");
        foreach (string expected in (string[])["unigram", "add-one bigram", "Kneser-Ney trigram", "transformer", "peak resident memory", "logits that were never stored", "64 tokens x", "  Gets the"])
        {
            StringAssert.Contains(output, expected);
        }

        Match difference = Regex.Match(output, "Largest relative difference between the losses of a step: (\\S+)");
        Assert.IsLessThan(1e-4, double.Parse(difference.Groups[1].Value, CultureInfo.InvariantCulture));
        Assert.AreEqual("svg", XElement.Load(folder["out/loss.svg"]).Name.LocalName);
    }

    [TestMethod]
    public void A_trained_model_continues_text_the_same_with_and_without_a_cache()
    {
        using TemporaryFolder folder = new();
        string training = $"{Arguments(folder, "out")} --kv-heads 1 --window 8 --steps 60 --no-compare";
        (int exitCode, string output, string error) = Run(training);
        Assert.AreEqual(0, exitCode, error);
        StringAssert.Contains(output, "2 heads (1 of keys and values), window 8");

        string generate = $"generate --text \"{folder["text.txt"]}\" --output \"{folder["out"]}\" --tokens 40 --temperature 0";
        (exitCode, string cached, error) = Run(generate);
        Assert.AreEqual(0, exitCode, error);
        (exitCode, string recomputed, error) = Run($"{generate} --no-cache");
        Assert.AreEqual(0, exitCode, error);

        // 2 x 1 head of 16 columns x 16 tokens, in f32.
        StringAssert.Contains(cached, "Key-value cache: 2,048 bytes for 16 tokens.");
        StringAssert.Contains(recomputed, "Without a key-value cache");
        StringAssert.Matches(cached, new Regex("prefill\\W+8\\W+\\d"));
        StringAssert.Matches(cached, new Regex("decode\\W+39\\W+\\d"));
        Assert.IsGreaterThan(40, Continued(cached).Length);
        Assert.AreEqual(Continued(recomputed), Continued(cached));
        StringAssert.Contains(Run($"{generate} --prompt \"Sets the\" --kv-precision int8").Output, "Given:     Sets the");

        static string Continued(string output) => Regex.Match(output, "Continued: .*").Value;
    }

    [TestMethod]
    public void The_same_arguments_give_the_same_bits()
    {
        using TemporaryFolder folder = new();
        string arguments = Arguments(folder, "out") + " --steps 12 --no-compare";
        string first = Sample(Run(arguments).Output);
        byte[] checkpoint = File.ReadAllBytes(folder["out/checkpoint.bin"]);
        byte[] plot = File.ReadAllBytes(folder["out/loss.svg"]);

        Assert.AreEqual(first, Sample(Run(arguments).Output));
        CollectionAssert.AreEqual(checkpoint, File.ReadAllBytes(folder["out/checkpoint.bin"]));
        CollectionAssert.AreEqual(plot, File.ReadAllBytes(folder["out/loss.svg"]));

        static string Sample(string output) => Regex.Match(output, "The model writes:.*?Done", RegexOptions.Singleline).Value;
    }

    [TestMethod]
    public void A_run_of_some_minutes_names_the_steps_that_repeat_it()
    {
        using TemporaryFolder folder = new();
        (int exitCode, string output, string error) = Run($"{Arguments(folder, "timed")} --minutes 0.05 --no-compare");
        Assert.AreEqual(0, exitCode, error);
        string steps = Regex.Match(output, "Training: (--steps \\d+ --seed 1)").Groups[1].Value;

        Assert.AreEqual(0, Run($"{Arguments(folder, "counted")} {steps} --no-compare").ExitCode);
        CollectionAssert.AreEqual(File.ReadAllBytes(folder["timed/checkpoint.bin"]), File.ReadAllBytes(folder["counted/checkpoint.bin"]));
    }

    [TestMethod]
    [OSCondition(OperatingSystems.Linux | OperatingSystems.OSX)]
    [DataRow("INT")]
    [DataRow("TERM")]
    public void A_signal_stops_cleanly_and_resuming_gives_the_same_bits(string signal)
    {
        using TemporaryFolder folder = new();
        const string Steps = "--steps 1500 --no-compare";
        Assert.AreEqual(0, Run($"{Arguments(folder, "whole")} {Steps}").ExitCode);

        string part = Arguments(folder, "part");
        using (Process process = Start($"{part} {Steps}"))
        {
            while (!process.StandardOutput.ReadLine()!.StartsWith("step ", StringComparison.Ordinal))
            {
            }

            Process.Start("kill", ["-" + signal, process.Id.ToString(CultureInfo.InvariantCulture)]).WaitForExit();
            string rest = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.AreEqual(130, process.ExitCode, rest);
            StringAssert.Matches(rest, new Regex("Stopped after step \\d+ of 1500. Go on with --resume\\."));
        }

        Assert.AreEqual(0, Run($"{part} --resume --no-compare").ExitCode);
        CollectionAssert.AreEqual(File.ReadAllBytes(folder["whole/checkpoint.bin"]), File.ReadAllBytes(folder["part/checkpoint.bin"]));
        CollectionAssert.AreEqual(File.ReadAllBytes(folder["whole/loss.svg"]), File.ReadAllBytes(folder["part/loss.svg"]));
        Assert.HasCount(2, Directory.GetFiles(folder["part"]));
    }

    [TestMethod]
    public void A_damaged_or_foreign_checkpoint_is_refused_and_kept()
    {
        using TemporaryFolder folder = new();
        string arguments = Arguments(folder, "out") + " --no-compare";
        Assert.AreEqual(0, Run(arguments + " --steps 2").ExitCode);
        byte[] truncated = File.ReadAllBytes(folder["out/checkpoint.bin"])[..5000];
        File.WriteAllBytes(folder["truncated"], truncated);
        folder.Write("foreign", "my only copy");

        (int exitCode, _, string error) = Run($"{arguments} --resume --checkpoint \"{folder["truncated"]}\"");
        Assert.AreEqual(1, exitCode);
        StringAssert.Contains(error, "is truncated or damaged");
        (exitCode, _, error) = Run($"{arguments} --resume --checkpoint \"{folder["foreign"]}\"");
        Assert.AreEqual(1, exitCode);
        StringAssert.Contains(error, "is not a checkpoint of this program");
        (exitCode, _, error) = Run($"{arguments} --steps 2 --checkpoint \"{folder["foreign"]}\"");
        Assert.AreEqual(1, exitCode);
        StringAssert.Contains(error, "exists and is not a checkpoint of this program");

        CollectionAssert.AreEqual(truncated, File.ReadAllBytes(folder["truncated"]));
        Assert.AreEqual("my only copy", File.ReadAllText(folder["foreign"]));
    }

    [TestMethod]
    public void A_checkpoint_of_another_text_is_refused_and_kept()
    {
        using TemporaryFolder folder = new();
        Assert.AreEqual(0, Run(Arguments(folder, "out") + " --steps 2 --no-compare").ExitCode);
        byte[] checkpoint = File.ReadAllBytes(folder["out/checkpoint.bin"]);
        string other = folder.Write("other.txt", File.ReadAllText(folder["text.txt"]).Replace("stream", "socket", StringComparison.Ordinal));

        (int exitCode, _, string error) = Run($"--resume --text \"{other}\" --output \"{folder["out"]}\"");

        Assert.AreEqual(1, exitCode);
        StringAssert.Contains(error, "belongs to another text");
        CollectionAssert.AreEqual(checkpoint, File.ReadAllBytes(folder["out/checkpoint.bin"]));
    }

    [TestMethod]
    [DataRow("--heads 3 --dim 64", "--dim must be a multiple of 6")]
    [DataRow("generate", "There is no checkpoint")]
    [DataRow("--text /nowhere", "neither a file nor a folder")]
    [DataRow("--steps 5 --minutes 1", "not both")]
    public void Errors_are_one_readable_line(string arguments, string expected)
    {
        using TemporaryFolder folder = new();
        (int exitCode, _, string error) = Run($"{arguments} --output \"{folder["out"]}\"");
        Assert.AreEqual(1, exitCode);
        StringAssert.Contains(error, expected);
        Assert.IsFalse(error.Contains("   at ", StringComparison.Ordinal), error);
    }
}
