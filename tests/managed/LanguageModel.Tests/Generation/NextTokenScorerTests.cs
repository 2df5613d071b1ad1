using System.Numerics.Tensors;
using FusedKernels;
using LanguageModel.Generation;
using LanguageModel.Model;
using LanguageModel.Tests.Training;
using LanguageModel.Training;

namespace LanguageModel.Tests.Generation;

[TestClass]
public sealed class NextTokenScorerTests
{
    private const int ContextLength = 16;

    /// <summary>Grouped heads and a window, and neither.</summary>
    private static TrainingSettings[] Models { get; } =
        [TrainingFixture.SmallSettings, TrainingFixture.SmallSettings with { KvHeads = 1, Window = 6 }];

    [TestMethod]
    public void A_call_computes_only_the_tokens_that_are_new_until_the_context_is_full()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings);
        using FusedContext context = FusedContext.Cpu();
        int[] text = run.Text.Training;

        // From the seventeenth token on the text starts at its ninth, from the twenty-fifth on at its seventeenth.
        int[] expected = [14, 1, 1, 9, 1, 1, 1, 1, 1, 1, 1, 9, 1];
        NextTokenScorer cached = NewScorer(run, context, KvPrecision.Float);
        CollectionAssert.AreEqual(expected, Computed(cached));
        NextTokenScorer recomputing = NewScorer(run, context, null);
        CollectionAssert.AreEqual((int[])[14, 15, 16, 9, 10, 11, 12, 13, 14, 15, 16, 9, 10], Computed(recomputing));

        int[] Computed(NextTokenScorer scorer)
        {
            float[] logits = new float[run.Text.Vocabulary.Count];
            return [.. Enumerable.Range(14, expected.Length).Select(length => scorer.Score(text.AsSpan(0, length), logits))];
        }
    }

    [TestMethod]
    public void The_most_likely_tokens_are_those_without_a_cache()
    {
        foreach (TrainingSettings settings in Models)
        {
            using TrainingFixture run = new(settings with { Steps = 200 });
            run.Train(200);
            using FusedContext context = FusedContext.Cpu();

            // Five times the context, so that the text loses its start ten times.
            int[] expected = MostLikely(NewScorer(run, context, null));
            CollectionAssert.AreEqual(expected, MostLikely(NewScorer(run, context, KvPrecision.Float)), settings.ToString());
            Assert.IsGreaterThan(5, expected.Distinct().Count(), "a sentence, and not one token again and again");

            int[] MostLikely(NextTokenScorer scorer)
            {
                Generator generator = new(scorer, new TokenSampler(run.Text.Vocabulary.Count, temperature: 0, seed: 1), run.Text.Vocabulary);
                return [.. generator.Continue(run.Text.Validation[..5]).Take(5 * ContextLength)];
            }
        }
    }

    // A key that is off by the relative rounding r shifts scores of order 1 by r, and so the probabilities; a value that is off
    // by r shifts the sum by r at most. Two layers make 4 r of that if nothing cancels, and most does.
    [TestMethod]
    [DataRow(KvPrecision.Float, 1.0 / (1 << 20))] // sums in another order: some roundings of 2^-24
    [DataRow(KvPrecision.BFloat16, 1.0 / (1 << 9))]
    [DataRow(KvPrecision.Int8, 1.0 / 254)] // half a step of 1 / 127 of a head's largest element
    public void Scores_with_a_cache_are_those_without_one_up_to_its_precision(KvPrecision precision, double rounding)
    {
        foreach (TrainingSettings settings in Models)
        {
            using TrainingFixture run = new(settings with { Steps = 100 });
            run.Train(100);
            using FusedContext context = FusedContext.Cpu();
            NextTokenScorer cached = NewScorer(run, context, precision), recomputing = NewScorer(run, context, null);
            double largest = 0;
            foreach (int length in (int[])[5, 6, 10, 16, 17, 30])
            {
                float[] expected = new float[run.Text.Vocabulary.Count], actual = new float[expected.Length];
                recomputing.Score(run.Text.Training.AsSpan(0, length), expected);
                cached.Score(run.Text.Training.AsSpan(0, length), actual);
                largest = Math.Max(largest, TensorPrimitives.Distance<float>(expected, actual) / TensorPrimitives.Norm<float>(expected));
            }

            Assert.IsLessThan(4 * rounding, largest);
            Assert.AreEqual(precision != KvPrecision.Float, largest > 1e-5, "a lower precision shows");
        }
    }

    [TestMethod]
    public void Another_text_starts_anew()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings);
        using FusedContext context = FusedContext.Cpu();
        float[] first = new float[run.Text.Vocabulary.Count], again = new float[first.Length];
        NextTokenScorer scorer = NewScorer(run, context, KvPrecision.Float);
        scorer.Score([0, 5, 3], first);
        scorer.Score([0, 5, 3, .. Enumerable.Repeat(4, 20)], again);
        scorer.Forget();
        scorer.Score([0, 5, 3], again);
        CollectionAssert.AreEqual(first, again);
    }

    private static NextTokenScorer NewScorer(TrainingFixture run, FusedContext context, KvPrecision? precision)
    {
        Transformer model = run.Trainer.Model;
        return new(context, model, ContextLength, precision is { } p ? model.NewCache(ContextLength, p) : null);
    }
}
