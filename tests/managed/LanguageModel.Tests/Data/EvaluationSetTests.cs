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
    public void The_mean_loss_counts_the_tokens_of_the_windows()
    {
        double[] losses = [.. Enumerable.Range(0, Stream.Length).Select(i => (double)i)];
        Assert.AreEqual(12, new EvaluationSet(Stream, windowLength: 5, tokens: long.MaxValue).MeanLoss(losses));
        Assert.AreEqual((1 + 2 + 3 + 4 + 5 + 11 + 12 + 13 + 14 + 15) / 10.0, new EvaluationSet(Stream, windowLength: 5, tokens: 6).MeanLoss(losses));
    }
}
