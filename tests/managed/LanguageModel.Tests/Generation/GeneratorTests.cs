using FusedKernels;
using LanguageModel.Generation;
using LanguageModel.Tests.Training;

namespace LanguageModel.Tests.Generation;

[TestClass]
public sealed class GeneratorTests
{
    [TestMethod]
    public void A_trained_model_writes_sentences_of_its_text_and_the_same_ones_every_time()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings with { Steps = 400 });
        run.Train(400);
        using FusedContext context = FusedContext.Cpu();

        string[] sentences = Sample(seed: 1);
        foreach (string sentence in sentences)
        {
            StringAssert.Matches(sentence, new("^Sets the \\w+ of (one|each|last) \\w+\\.$"));
        }

        CollectionAssert.AreEqual(sentences, Sample(seed: 1));
        CollectionAssert.AreNotEqual(sentences, Sample(seed: 2));

        string[] Sample(ulong seed) => [.. NewGenerator(run, context, KvPrecision.Float, seed).Sentences("Sets the", 5)];
    }

    [TestMethod]
    [DataRow(KvPrecision.BFloat16)]
    [DataRow(KvPrecision.Int8)]
    public void A_cache_of_lower_precision_is_enough_for_sentences_of_the_text(KvPrecision precision)
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings with { Steps = 400 });
        run.Train(400);
        using FusedContext context = FusedContext.Cpu();
        foreach (string sentence in NewGenerator(run, context, precision, seed: 1).Sentences("Sets the", 5))
        {
            StringAssert.Matches(sentence, new("^Sets the \\w+ of (one|each|last) \\w+\\.$"));
        }
    }

    [TestMethod]
    public void The_prompt_is_counted_apart_from_the_tokens_that_follow()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings);
        using FusedContext context = FusedContext.Cpu();
        Generator generator = NewGenerator(run, context, KvPrecision.Float, seed: 1);

        Assert.HasCount(7, generator.Continue([0, 5, 3, 4]).Take(7));

        // The first token follows from the prompt; the seventh is not read any more.
        Assert.AreEqual((4, 6), (generator.Prefill.Tokens, generator.Decode.Tokens));
        Assert.IsGreaterThan(0.0, generator.Prefill.TokensPerSecond);
        Assert.IsGreaterThan(0.0, generator.Decode.TokensPerSecond);
    }

    private static Generator NewGenerator(TrainingFixture run, FusedContext context, KvPrecision precision, ulong seed) => new(
        new NextTokenScorer(
            context, run.Trainer.Model, run.Settings.Context, run.Trainer.Model.NewCache(run.Settings.Context, precision)),
        new TokenSampler(run.Text.Vocabulary.Count, TokenSampler.DefaultTemperature, seed),
        run.Text.Vocabulary);
}
