using LanguageModel.Data;
using LanguageModel.Training;

namespace LanguageModel.Tests.Training;

[TestClass]
public sealed class TrainerTests
{
    [TestMethod]
    public void Learns()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings with { Steps = 400 });
        EvaluationSet validation = new(run.Text.Validation, run.Settings.Context, long.MaxValue);
        double before = run.Trainer.Evaluate(validation);
        run.Train(400);
        double after = run.Trainer.Evaluate(validation);

        // Untrained, the model is near uniform. Trained, it cannot know which of 4 verbs, 6 nouns, 3 counts and 5 owners
        // come; ln(360) nats per sentence of 8 tokens are 0.74 per token.
        Assert.AreEqual(Math.Log(run.Text.Vocabulary.Count), before, 0.2);
        Assert.IsLessThan(1.0, after);
        Assert.IsGreaterThan(0.6, after);
    }

    [TestMethod]
    public void The_same_seed_gives_the_same_bits_with_any_number_of_threads()
    {
        using TrainingFixture first = new(TrainingFixture.SmallSettings, threads: 1);
        using TrainingFixture second = new(TrainingFixture.SmallSettings, threads: 3);
        using TrainingFixture other = new(TrainingFixture.SmallSettings with { Seed = 2 }, threads: 1);

        float[] losses = first.Train(20);
        CollectionAssert.AreEqual(losses, second.Train(20));
        CollectionAssert.AreEqual(first.State(), second.State());
        CollectionAssert.AreNotEqual(losses, other.Train(20));
    }

    [TestMethod]
    public void Reset_starts_the_same_run_again()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings);
        float[] losses = run.Train(20);
        float[] state = run.State();
        run.Trainer.Reset(run.Settings.Steps);
        CollectionAssert.AreEqual(losses, run.Train(20));
        CollectionAssert.AreEqual(state, run.State());
    }

    [TestMethod]
    public void Both_losses_agree_for_20_steps()
    {
        using TrainingFixture cut = new(TrainingFixture.SmallSettings);
        using TrainingFixture materialised = new(TrainingFixture.SmallSettings with { Loss = LossKind.Materialised });
        foreach ((float a, float b) in cut.Train(20).Zip(materialised.Train(20)))
        {
            Assert.AreEqual(a, b, 1e-4 * a);
        }
    }

    [TestMethod]
    public void A_step_allocates_next_to_nothing()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings);
        run.Train(3);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 10; i++)
        {
            run.Trainer.Step();
        }

        Assert.AreEqual(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [TestMethod]
    public void A_diverged_run_stops_with_advice()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings);
        run.Trainer.Model.Parameters.Items[^1].Value.Data.AsSpan().Fill(float.NaN);
        StringAssert.Contains(Assert.ThrowsExactly<UserException>(() => run.Trainer.Step()).Message, "try a lower --lr than 0.01");
    }
}
