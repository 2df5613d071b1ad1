using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using LanguageModel.Report;
using LanguageModel.Training;

namespace LanguageModel.Tests.Training;

[TestClass]
public sealed class CheckpointTests
{
    /// <summary>Trains up to a step and saves, as an interrupted run does.</summary>
    private static TrainingHistory TrainUntil(TrainingFixture run, string path, int stopAfter, TrainingHistory history)
    {
        using CancellationTokenSource interrupted = new();
        bool finished = new TrainingRun(run.Trainer, run.Settings, run.Text, path, history).Train(
            new CallbackDisplay(status =>
            {
                if (status.StepsDone == stopAfter)
                {
                    interrupted.Cancel();
                }
            }),
            interrupted.Token);
        Assert.AreEqual(stopAfter >= run.Settings.Steps, finished);
        return history;
    }

    [TestMethod]
    [DataRow(1)]
    [DataRow(9)]
    [DataRow(10)]
    [DataRow(19)]
    [DataRow(20)]
    public void An_interrupted_and_resumed_run_has_the_bits_of_one_that_was_not(int stopAfter)
    {
        using TemporaryFolder folder = new();
        using TrainingFixture whole = new(TrainingFixture.SmallSettings);
        TrainingHistory wholeHistory = TrainUntil(whole, folder["whole"], 20, new TrainingHistory());

        using TrainingFixture first = new(TrainingFixture.SmallSettings);
        TrainUntil(first, folder["part"], stopAfter, new TrainingHistory());
        using TrainingFixture second = new(TrainingFixture.SmallSettings);
        Checkpoint checkpoint = Checkpoint.Open(folder["part"]);
        second.Trainer.Resume(checkpoint);
        TrainingHistory history = TrainUntil(second, folder["part"], 20, checkpoint.Header.History);

        Assert.AreEqual(stopAfter, checkpoint.Header.StepsDone);
        Assert.AreEqual(TrainingFixture.SmallSettings, checkpoint.Header.Settings);
        CollectionAssert.AreEqual(whole.State(), second.State());
        CollectionAssert.AreEqual(wholeHistory.TrainingLosses, history.TrainingLosses);
        CollectionAssert.AreEqual(wholeHistory.ValidationLosses, history.ValidationLosses);
        CollectionAssert.AreEqual(File.ReadAllBytes(folder["whole"]), File.ReadAllBytes(folder["part"]));
    }

    [TestMethod]
    public void A_truncated_checkpoint_is_refused_at_every_length()
    {
        using TemporaryFolder folder = new();
        byte[] whole = SmallCheckpoint(folder);
        for (int length = 0; length < whole.Length; length += length < 400 ? 1 : 97)
        {
            AssertRefused(folder, whole[..length]);
        }

        AssertRefused(folder, [.. whole, 0]);
    }

    [TestMethod]
    public void A_flipped_bit_is_noticed_wherever_it_is()
    {
        using TemporaryFolder folder = new();
        byte[] whole = SmallCheckpoint(folder);
        for (int position = 0; position < whole.Length; position += position < 64 || position >= whole.Length - 32 ? 1 : 31)
        {
            byte[] damaged = [.. whole];
            damaged[position] ^= (byte)(1 << (position % 8));
            AssertRefused(folder, damaged);
        }
    }

    [TestMethod]
    public void A_missing_or_foreign_file_is_refused()
    {
        using TemporaryFolder folder = new();
        StringAssert.Contains(
            Assert.ThrowsExactly<UserException>(() => Checkpoint.Open(folder["nothing"])).Message, "There is no checkpoint");
        StringAssert.Contains(
            Assert.ThrowsExactly<UserException>(() => Checkpoint.Open(folder.Write("letter", "Dear reader, ..."))).Message,
            "is not a checkpoint of this program");
    }

    [TestMethod]
    public void A_checkpoint_of_another_model_is_refused_before_anything_is_changed()
    {
        using TemporaryFolder folder = new();
        SmallCheckpoint(folder);
        using TrainingFixture other = new(TrainingFixture.SmallSettings with { Dim = 64 });
        float[] before = other.State();

        Checkpoint checkpoint = Checkpoint.Open(folder["small"]);
        StringAssert.Contains(
            Assert.ThrowsExactly<UserException>(() => other.Trainer.Resume(checkpoint)).Message, "those of another model");
        CollectionAssert.AreEqual(before, other.State());
    }

    [TestMethod]
    public void Groups_of_heads_and_the_window_come_back()
    {
        TrainingSettings settings = Tiny with { Dim = 8, Heads = 2, KvHeads = 1, Window = 3 };
        using TemporaryFolder folder = new();
        using TrainingFixture run = new(settings);
        TrainUntil(run, folder["grouped"], 2, new TrainingHistory());

        Assert.AreEqual(settings, Checkpoint.Open(folder["grouped"]).Header.Settings);
        using TrainingFixture ungrouped = new(settings with { KvHeads = null });
        StringAssert.Contains(
            Assert.ThrowsExactly<UserException>(() => ungrouped.Trainer.Resume(Checkpoint.Open(folder["grouped"]))).Message,
            "those of another model");
    }

    [TestMethod]
    public void A_checkpoint_from_before_there_were_groups_and_windows_loads()
    {
        using TemporaryFolder folder = new();
        using TrainingFixture run = new(Tiny);
        TrainUntil(run, folder["new"], 2, new TrainingHistory());
        File.WriteAllBytes(folder["old"], InFormat(1, File.ReadAllBytes(folder["new"]), json => json
            .Replace("\"KvHeads\":null,", "", StringComparison.Ordinal)
            .Replace("\"Window\":null,", "", StringComparison.Ordinal)));
        Assert.IsLessThan(new FileInfo(folder["new"]).Length - 20, new FileInfo(folder["old"]).Length);

        Checkpoint checkpoint = Checkpoint.Open(folder["old"]);
        Assert.AreEqual(Tiny, checkpoint.Header.Settings);
        using TrainingFixture resumed = new(Tiny);
        resumed.Trainer.Resume(checkpoint);
        CollectionAssert.AreEqual(run.State(), resumed.State());
    }

    [TestMethod]
    [DataRow(0)]
    [DataRow(3)]
    public void A_checkpoint_of_another_format_is_refused(int version)
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder["other"], InFormat(version, SmallCheckpoint(folder), json => json));
        StringAssert.Contains(
            Assert.ThrowsExactly<UserException>(() => Checkpoint.Open(folder["other"])).Message,
            $"is a checkpoint of format {version}, and this program reads formats 1 to 2");
    }

    /// <summary>The checkpoint with another version and header, and the checksum that belongs to them.</summary>
    private static byte[] InFormat(int version, byte[] checkpoint, Func<string, string> changeHeader)
    {
        const int Prefix = 16;
        int headerLength = BinaryPrimitives.ReadInt32LittleEndian(checkpoint.AsSpan(12));
        byte[] header = Encoding.UTF8.GetBytes(changeHeader(Encoding.UTF8.GetString(checkpoint, Prefix, headerLength)));
        byte[] content = [.. checkpoint[..Prefix], .. header, .. checkpoint[(Prefix + headerLength)..^SHA256.HashSizeInBytes]];
        BinaryPrimitives.WriteInt32LittleEndian(content.AsSpan(8), version);
        BinaryPrimitives.WriteInt32LittleEndian(content.AsSpan(12), header.Length);
        return [.. content, .. SHA256.HashData(content)];
    }

    [TestMethod]
    public void A_failed_save_leaves_the_earlier_checkpoint_and_no_other_file()
    {
        using TemporaryFolder folder = new();
        byte[] whole = SmallCheckpoint(folder);
        using TrainingFixture run = new(Tiny);
        CheckpointHeader header = new()
        {
            Settings = Tiny,
            TextFingerprint = "",
            StepsDone = 1,
            Parameters = [],

            // JSON has no infinity, so that writing stops half-way.
            History = new TrainingHistory { TrainingLosses = [float.PositiveInfinity] },
        };

        Assert.Throws<ArgumentException>(() => Checkpoint.Save(folder["small"], header, run.Trainer.Model.Parameters));
        CollectionAssert.AreEqual(whole, File.ReadAllBytes(folder["small"]));
        Assert.HasCount(1, Directory.GetFiles(folder.Path));
    }

    private static TrainingSettings Tiny { get; } = TrainingFixture.SmallSettings with { Layers = 1, Dim = 4, Heads = 1, Steps = 2 };

    private static byte[] SmallCheckpoint(TemporaryFolder folder)
    {
        using TrainingFixture run = new(Tiny);
        TrainUntil(run, folder["small"], 2, new TrainingHistory());
        return File.ReadAllBytes(folder["small"]);
    }

    private static void AssertRefused(TemporaryFolder folder, byte[] content)
    {
        string path = folder["damaged"];
        File.WriteAllBytes(path, content);
        string message = Assert.ThrowsExactly<UserException>(() => Checkpoint.Open(path)).Message;
        StringAssert.Contains(message, "Nothing was changed");
    }

    private sealed class CallbackDisplay(Action<TrainingStatus> callback) : ITrainingDisplay
    {
        public void Run(int stepsDone, int totalSteps, Action<Action<TrainingStatus>> work) => work(callback);
    }
}
