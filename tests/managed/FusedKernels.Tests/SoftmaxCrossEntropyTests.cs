using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class SoftmaxCrossEntropyTests
{
    [TestMethod, BackendData(LossReduction.Mean, LossReduction.Sum)]
    public void MatchesOracle(string backend, LossReduction reduction)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (int rows in Sizes.Odd)
            foreach (int classes in Sizes.Odd)
                Compare(context, TestMatrix.Random(rows, classes, seed: rows + classes, scale: 5), reduction);
    }

    [TestMethod, BackendData(1e4f, 100f)]
    public void ExtremeLogitsStayFinite(string backend, float scale)
    {
        using FusedContext context = Backends.Create(backend);
        Compare(context, TestMatrix.Random(17, 65, seed: 1, scale), LossReduction.Mean);
    }

    [TestMethod, BackendData]
    public void LongTargetsGiveTheSameBits(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix logits = TestMatrix.Random(9, 33, seed: 1), other = logits.Clone();
        int[] targets = Targets(9, 33);
        float loss = SoftmaxCrossEntropy.LossAndGradient(context, logits.Span, targets);
        Assert.AreEqual(
            loss, SoftmaxCrossEntropy.LossAndGradient(context, other.Span, targets.Select(t => (long)t).ToArray()));
        CollectionAssert.AreEqual(logits.Bits(), other.Bits());
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            TestMatrix logits = TestMatrix.Random(130, 517, seed: 1);
            float loss = SoftmaxCrossEntropy.LossAndGradient(context, logits.Span, Targets(130, 517));
            return [BitConverter.SingleToInt32Bits(loss), .. logits.Bits()];
        });

    [TestMethod, BackendData]
    public void TargetOutOfRangeNamesItsRow(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        ArgumentOutOfRangeException error = Assert.ThrowsExactly<ArgumentOutOfRangeException>(
            () => SoftmaxCrossEntropy.LossAndGradient(context, TestMatrix.Random(2, 3, 1).Span, (int[])[0, -1]));
        Messages.AssertNames(error, "targets", "row 1 is -1");
    }

    [TestMethod, BackendData]
    public void ReductionNoneIsRefused(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => SoftmaxCrossEntropy.LossAndGradient(
            context, TestMatrix.Random(1, 3, 1).Span, (int[])[0],
            new SoftmaxCrossEntropyOptions { Reduction = LossReduction.None }));
        Messages.AssertNames(error, "Reduction", "Mean or Sum");
    }

    [TestMethod, BackendData]
    public void IgnoreIndexMayBeZeroOrNone(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix logits = TestMatrix.Random(2, 3, seed: 1), other = logits.Clone();
        float one = SoftmaxCrossEntropy.LossAndGradient(
            context, logits.Span, (int[])[0, 2], new SoftmaxCrossEntropyOptions { IgnoreIndex = 0 });
        float both = SoftmaxCrossEntropy.LossAndGradient(
            context, other.Span, (int[])[0, 2], new SoftmaxCrossEntropyOptions { IgnoreIndex = null });
        Assert.AreNotEqual(one, both);
        for (int v = 0; v < 3; v++)
        {
            Assert.AreEqual(0f, logits[0, v], "an ignored row has gradient 0");
            Assert.AreNotEqual(0f, other[0, v]);
        }
    }

    private static int[] Targets(int rows, int classes) =>
        [.. Enumerable.Range(0, rows).Select(row => row % 5 == 4 ? -100 : 7 * row % classes)];

    private static void Compare(FusedContext context, TestMatrix logits, LossReduction reduction)
    {
        // Logits are embeddings on an identity classifier, whose products and sums round nothing.
        TestMatrix identity = new(logits.Columns, logits.Columns);
        for (int row = 0; row < logits.Columns; row++)
            for (int column = 0; column < logits.Columns; column++)
                identity[row, column] = row == column ? 1 : 0;
        int[] targets = Targets(logits.Rows, logits.Columns);
        CutCrossEntropyOracle oracle = new(
            new CutCrossEntropyProblem(logits, identity) { Targets = targets, Options = new() { Reduction = reduction } });

        TestMatrix gradient = logits.Clone();
        float loss = SoftmaxCrossEntropy.LossAndGradient(
            context, gradient.Span, targets, new SoftmaxCrossEntropyOptions { Reduction = reduction });

        string what = $"{logits.Rows} x {logits.Columns}";
        oracle.Loss.AssertNear(loss, $"loss of {what}");
        gradient.AssertGapsUntouched(what);
        for (int row = 0; row < logits.Rows; row++)
            for (int column = 0; column < logits.Columns; column++)
                oracle.DEmbedding(row, column).AssertNear(gradient[row, column], $"gradient[{row}, {column}] of {what}");
    }
}
