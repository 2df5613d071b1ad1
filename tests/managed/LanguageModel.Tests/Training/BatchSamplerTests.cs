using LanguageModel.Training;

namespace LanguageModel.Tests.Training;

[TestClass]
public sealed class BatchSamplerTests
{
    private const int Context = 4;
    private const int Batch = 3;

    private static readonly int[] Stream = [.. Enumerable.Range(0, 50)];

    private static int[] Inputs(BatchSampler sampler, long step)
    {
        int[] inputs = new int[Batch * Context], targets = new int[Batch * Context];
        sampler.Fill(step, inputs, targets);
        CollectionAssert.AreEqual(inputs.Select(token => token + 1).ToArray(), targets);
        return inputs;
    }

    [TestMethod]
    public void An_epoch_visits_every_window_once()
    {
        BatchSampler sampler = new(Stream, Context, Batch, seed: 1);
        int windows = (int)sampler.TokensPerEpoch / Context;
        Assert.AreEqual(11, windows);

        int[] starts = [.. Enumerable.Range(0, 11).SelectMany(step => Inputs(sampler, step).Chunk(Context)).Select(window => window[0])];
        foreach (int[] epoch in starts.Chunk(windows))
        {
            int[] sorted = [.. epoch.Order()];
            CollectionAssert.AreNotEqual(sorted, epoch);
            CollectionAssert.AreEqual(Enumerable.Range(0, windows).Select(i => sorted[0] + (i * Context)).ToArray(), sorted);
        }
    }

    [TestMethod]
    public void A_step_does_not_depend_on_the_steps_before_it()
    {
        BatchSampler inOrder = new(Stream, Context, Batch, seed: 1);
        int[][] steps = [.. Enumerable.Range(0, 20).Select(step => Inputs(inOrder, step))];

        CollectionAssert.AreEqual(steps[13], Inputs(new BatchSampler(Stream, Context, Batch, seed: 1), 13));
        CollectionAssert.AreEqual(steps[2], Inputs(inOrder, 2));
        CollectionAssert.AreNotEqual(steps[2], Inputs(new BatchSampler(Stream, Context, Batch, seed: 2), 2));
    }

    [TestMethod]
    public void Too_little_text_is_refused()
    {
        UserException error = Assert.ThrowsExactly<UserException>(() => new BatchSampler(Stream[..8], Context, Batch, seed: 1));
        StringAssert.Contains(error.Message, "--context 4 needs at least 9 training tokens, and the text has 8");
    }
}
