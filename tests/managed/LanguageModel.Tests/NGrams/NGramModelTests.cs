using LanguageModel.NGrams;
using LanguageModel.Data;

namespace LanguageModel.Tests.NGrams;

[TestClass]
public sealed class NGramModelTests
{
    private const int VocabularySize = 40;

    // Token 39 is in the vocabulary and never in the training stream.
    private const int NeverSeen = VocabularySize - 1;

    /// <summary>Skewed random tokens with boundaries and unknown ones; every count from 1 to 4 and more occurs.</summary>
    private static int[] Stream()
    {
        Random random = new(5);
        int[] stream = new int[2000];
        for (int i = 1; i < stream.Length; i++)
        {
            stream[i] = (int)(NeverSeen * Math.Pow(random.NextDouble(), 2));
        }

        return stream;
    }

    private static IEnumerable<INGramModel> Models(int[] stream) =>
        [new UnigramModel(stream, VocabularySize), new AddOneBigramModel(stream, VocabularySize), new KneserNeyTrigramModel(stream, VocabularySize)];

    [TestMethod]
    public void Probabilities_sum_to_one_after_every_context()
    {
        foreach (INGramModel model in Models(Stream()))
        {
            // All pairs: seen and unseen ones, boundaries, unknown tokens and the token that training lacks.
            for (int context = 0; context < VocabularySize * VocabularySize; context++)
            {
                double sum = 0;
                for (int token = 0; token < VocabularySize; token++)
                {
                    double probability = model.Probability(context / VocabularySize, context % VocabularySize, token);
                    Assert.IsGreaterThan(0.0, probability);
                    sum += probability;
                }

                // 40 additions in double, each off by at most 1.1e-16 of a sum below 1.
                Assert.AreEqual(1, sum, 1e-14, $"{model.Name} after {context / VocabularySize}, {context % VocabularySize}");
            }
        }
    }

    [TestMethod]
    public void Probabilities_sum_to_one_on_a_text_too_small_for_its_own_discounts()
    {
        int[] stream = [0, 2, 3, 0];
        foreach (INGramModel model in Models(stream))
        {
            Assert.AreEqual(1, Enumerable.Range(0, VocabularySize).Sum(token => model.Probability(0, 2, token)), 1e-14, model.Name);
            Assert.AreEqual(1, Enumerable.Range(0, VocabularySize).Sum(token => model.Probability(1, 1, token)), 1e-14, model.Name);
        }
    }

    [TestMethod]
    public void Unigram_and_bigram_follow_their_formulas()
    {
        int[] stream = [0, 2, 3, 2, 3, 0, 2, 0];

        UnigramModel unigram = new(stream, VocabularySize);
        Assert.AreEqual((3 + 1) / 47.0, unigram.Probability(0, 0, 2), 1e-15);
        Assert.AreEqual((2 + 1) / 47.0, unigram.Probability(0, 0, 0), 1e-15);
        Assert.AreEqual(1 / 47.0, unigram.Probability(0, 0, 9), 1e-15);

        AddOneBigramModel bigram = new(stream, VocabularySize);
        Assert.AreEqual((2 + 1) / 43.0, bigram.Probability(0, 2, 3), 1e-15);
        Assert.AreEqual(1 / 42.0, bigram.Probability(0, 3, 3), 1e-15);
        Assert.AreEqual(1 / 40.0, bigram.Probability(0, 9, 3), 1e-15);
    }

    /// <summary>Against the definition, computed from lists of n-grams and with no shared code.</summary>
    [TestMethod]
    public void Kneser_Ney_follows_its_definition()
    {
        int[] stream = Stream();
        KneserNeyTrigramModel model = new(stream, VocabularySize);

        List<int[]> trigrams = [.. Enumerable.Range(1, stream.Length - 1).Select(i => new[] { stream[Math.Max(0, i - 2)], stream[i - 1], stream[i] })];
        List<int[]> bigrams = [.. trigrams.DistinctBy(t => (t[0], t[1], t[2])).Select(t => t[1..])];
        List<int[]> unigrams = [.. bigrams.DistinctBy(b => (b[0], b[1])).Select(b => b[1..])];

        Random random = new(6);
        for (int i = 0; i < 300; i++)
        {
            int u = random.Next(VocabularySize), v = random.Next(VocabularySize), w = random.Next(VocabularySize);
            double expected = Smooth(unigrams, [w], 1.0 / VocabularySize);
            expected = Smooth(bigrams, [v, w], expected);
            expected = Smooth(trigrams, [u, v, w], expected);

            // Three divisions and a few sums in double.
            Assert.AreEqual(expected, model.Probability(u, v, w), 1e-14);
        }
    }

    private static double Smooth(List<int[]> ngrams, int[] ngram, double lower)
    {
        var types = ngrams.GroupBy(n => string.Join(' ', n)).Select(g => (Ngram: g.First(), Count: g.Count())).ToList();
        double n1 = types.Count(t => t.Count == 1), n2 = types.Count(t => t.Count == 2);
        double n3 = types.Count(t => t.Count == 3), n4 = types.Count(t => t.Count == 4);
        double y = n1 / (n1 + (2 * n2));
        double[] d = [0, 1 - (2 * y * n2 / n1), 2 - (3 * y * n3 / n2), 3 - (4 * y * n4 / n3)];
        if (!(d[1] is > 0 and < 1 && d[2] is > 0 and < 2 && d[3] is > 0 and < 3))
        {
            d = [0, 0.5, 1, 1.5];
        }

        var following = types.Where(t => t.Ngram[..^1].SequenceEqual(ngram[..^1])).ToList();
        if (following.Count == 0)
        {
            return lower;
        }

        int count = following.Where(t => t.Ngram[^1] == ngram[^1]).Sum(t => t.Count);
        double total = following.Sum(t => t.Count);
        return ((count - d[Math.Min(count, 3)]) / total) + (following.Sum(t => d[Math.Min(t.Count, 3)]) / total * lower);
    }

    [TestMethod]
    public void Better_models_predict_real_text_better()
    {
        IReadOnlyList<Baseline> baselines = Baseline.MeasureAll(TextData.Load(path: null, vocabularyCap: 16384));
        double[] perplexities = [.. baselines.Select(baseline => Math.Exp(baseline.TokenLosses.Skip(1).Average()))];

        Assert.IsLessThan(perplexities[0], perplexities[1]);
        Assert.IsLessThan(perplexities[1] / 2, perplexities[2]);
    }

    [TestMethod]
    public void A_baseline_asks_for_each_token_after_the_two_before_it()
    {
        Recorder recorder = new();
        Baseline baseline = Baseline.Measure(recorder, [7, 8, 9, 8]);

        CollectionAssert.AreEqual(new[] { (7, 7, 8), (7, 8, 9), (8, 9, 8) }, recorder.Asked);
        CollectionAssert.AreEqual(new[] { 0, Math.Log(4), Math.Log(2), Math.Log(4) }, baseline.TokenLosses);
    }

    private sealed class Recorder : INGramModel
    {
        public List<(int, int, int)> Asked { get; } = [];

        public string Name => "recorder";

        public double Probability(int beforePrevious, int previous, int token)
        {
            Asked.Add((beforePrevious, previous, token));
            return token == 9 ? 0.5 : 0.25;
        }
    }
}
