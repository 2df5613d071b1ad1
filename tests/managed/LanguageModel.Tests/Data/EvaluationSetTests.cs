using LanguageModel.Data;

namespace LanguageModel.Tests.Data;

[TestClass]
public sealed class EvaluationSetTests
{
    private static readonly int[] Stream = [.. Enumerable.Range(100, 24)];

    [TestMethod]
    public void All_windows_together_predict_every_token_but_the_first_once()
    {
        EvaluationSet set = new(Stream, windowLength: 5, tokens: long.MaxValue);

        List<int> targets = [];
        for (int i = 0; i < set.WindowCount; i++)
        {
            targets.AddRange(set.WindowTargets(i));
            CollectionAssert.AreEqual(set.WindowTargets(i).ToArray(), set.WindowInputs(i).ToArray().Select(token => token + 1).ToArray());
        }

        CollectionAssert.AreEqual(Stream[1..], targets);
        Assert.AreEqual(23, set.TokenCount);
        Assert.AreEqual(5, set.WindowCount);
        Assert.AreEqual(3, set.WindowTargets(4).Length);
    }

    [TestMethod]
    public void Fewer_tokens_are_spread_over_the_stream()
    {
        EvaluationSet set = new(Stream, windowLength: 5, tokens: 6);
        Assert.AreEqual(2, set.WindowCount);
        CollectionAssert.AreEqual(Stream[1..6], set.WindowTargets(0).ToArray());
        CollectionAssert.AreEqual(Stream[11..16], set.WindowTargets(1).ToArray());
        Assert.AreEqual(10, set.TokenCount);
    }

    [TestMethod]
    public void Perplexity_is_the_inverse_geometric_mean_of_the_probabilities()
    {
        EvaluationSet set = new([7, 8, 9, 8], windowLength: 2, tokens: long.MaxValue);
        List<(int, int, int)> asked = [];
        double perplexity = set.Perplexity((beforePrevious, previous, token) =>
        {
            asked.Add((beforePrevious, previous, token));
            return token == 9 ? 0.5 : 0.25;
        });

        CollectionAssert.AreEqual(new[] { (7, 7, 8), (7, 8, 9), (8, 9, 8) }, asked);
        Assert.AreEqual(Math.Pow(0.25 * 0.5 * 0.25, -1 / 3.0), perplexity, 1e-12);
    }
}
