using LanguageModel.Training;

namespace LanguageModel.Tests;

[TestClass]
public sealed class CommandLineTests
{
    private static CommandLineOptions? Parse(out string error, params string[] arguments)
    {
        CommandLineOptions? options = null;
        var result = CommandLine.Create(parsed =>
        {
            options = parsed;
            return 0;
        }, _ => 0).Parse(arguments);
        error = string.Join(' ', result.Errors.Select(e => e.Message));
        if (result.Errors.Count == 0)
        {
            result.Invoke();
        }

        return options;
    }

    [TestMethod]
    public void Nothing_said_means_the_defaults()
    {
        CommandLineOptions options = Parse(out _)!;
        Assert.AreEqual(new TrainingSettings(), options.NewSettings());
        Assert.AreEqual(Path.Combine("out", "checkpoint.bin"), options.CheckpointPath);
        Assert.IsFalse(options.Resume);
    }

    [TestMethod]
    public void Every_option_arrives()
    {
        CommandLineOptions options = Parse(
            out _,
            "--text", "t", "--vocab", "900", "--layers", "3", "--dim", "48", "--heads", "4", "--kv-heads", "2", "--context", "31",
            "--window", "8", "--batch", "5", "--steps", "7", "--lr", "0.002", "--seed", "9", "--loss", "materialised", "--threads", "2", "--output", "o",
            "--checkpoint", "c", "--resume", "--no-compare", "--prompt", "Gets the")!;

        Assert.AreEqual(
            new TrainingSettings
            {
                Vocabulary = 900, Layers = 3, Dim = 48, Heads = 4, KvHeads = 2, Context = 31, Window = 8, Batch = 5, Steps = 7,
                LearningRate = 0.002f, Seed = 9, Loss = LossKind.Materialised,
            },
            options.NewSettings());
        Assert.AreEqual(("t", 2, "o", "c", true, true, "Gets the"), (options.Text, options.Threads, options.Output, options.CheckpointPath, options.Resume, options.NoCompare, options.Prompt));
        Assert.AreEqual(1.5, Parse(out _, "--minutes", "1.5")!.Minutes);
    }

    [TestMethod]
    [DataRow("--loss half", "--loss is cut or materialised, not 'half'.")]
    [DataRow("--steps 5 --minutes 1", "Give --steps or --minutes, not both")]
    [DataRow("--resume --minutes 1", "--minutes chooses the steps of a new run")]
    [DataRow("--minutes 0", "--minutes must be above 0")]
    [DataRow("--minutes NaN", "--minutes must be above 0")]
    [DataRow("--threads -1", "--threads must be 0")]
    [DataRow("--steps many", "--steps")]
    [DataRow("--frobnicate", "--frobnicate")]
    public void Wrong_arguments_say_what_is_wrong(string arguments, string expected)
    {
        Assert.IsNull(Parse(out string error, arguments.Split(' ')));
        StringAssert.Contains(error, expected);
    }

    [TestMethod]
    [DataRow("--heads 3 --dim 64", "--heads 3 does not fit --dim 64")]
    [DataRow("--heads 3 --dim 64", "--dim must be a multiple of 6")]
    [DataRow("--heads 0", "--heads 0 must be at least 1")]
    [DataRow("--kv-heads 3", "--kv-heads 3 does not fit --heads 4")]
    [DataRow("--kv-heads 0", "--kv-heads 0 does not fit --heads 4")]
    [DataRow("--kv-heads 8", "--heads must be a multiple of it")]
    [DataRow("--window 0", "--window 0 must be at least 1")]
    [DataRow("--vocab 2", "--vocab 2 must be between 3 and")]
    [DataRow("--layers 0", "--layers 0 must be between 1")]
    [DataRow("--dim 0", "--dim 0 must be between 2")]
    [DataRow("--context 1", "--context 1 must be between 2")]
    [DataRow("--batch 0", "--batch 0 must be at least 1")]
    [DataRow("--batch 1000000 --context 1000", "are too many for one step")]
    [DataRow("--vocab 1000000 --dim 8192", "is too large for one matrix")]
    [DataRow("--vocab 1000000 --context 4096 --loss materialised", "more than one array holds")]
    [DataRow("--steps 0", "--steps 0 must be at least 1")]
    [DataRow("--lr 0", "--lr 0 must be above 0")]
    [DataRow("--lr NaN", "--lr NaN must be above 0")]
    public void Impossible_settings_say_what_is_possible(string arguments, string expected)
    {
        TrainingSettings settings = Parse(out _, arguments.Split(' '))!.NewSettings();
        StringAssert.Contains(Assert.ThrowsExactly<UserException>(settings.Validate).Message, expected);
    }

    [TestMethod]
    public void Resuming_takes_the_checkpoint_s_settings_and_refuses_others()
    {
        TrainingSettings stored = new() { Dim = 128, Steps = 77, Loss = LossKind.Materialised };
        Assert.AreEqual(stored, Parse(out _, "--resume")!.ResumedSettings(stored));
        Assert.AreEqual(stored, Parse(out _, "--resume", "--dim", "128", "--steps", "77")!.ResumedSettings(stored));

        UserException error = Assert.ThrowsExactly<UserException>(
            () => Parse(out _, "--resume", "--dim", "64", "--loss", "cut")!.ResumedSettings(stored));
        StringAssert.Contains(error.Message, "--dim 128 (not 64), --loss materialised (not cut)");
    }

    [TestMethod]
    public void Resuming_takes_the_number_of_heads_and_the_context_for_what_was_not_said()
    {
        TrainingSettings stored = new();
        Assert.AreEqual(stored, Parse(out _, "--resume", "--kv-heads", "4", "--window", "128")!.ResumedSettings(stored));

        UserException error = Assert.ThrowsExactly<UserException>(
            () => Parse(out _, "--resume", "--kv-heads", "2", "--window", "64")!.ResumedSettings(stored));
        StringAssert.Contains(error.Message, "--kv-heads 4 (not 2), --window 128 (not 64)");
    }
}
