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
        CutCrossEntropyOracle oracle = new(logits, identity, targets);
        double[] gradLosses = [.. targets.Select(_ => oracle.RowScale(reduction))];

        TestMatrix gradient = logits.Clone();
        float loss = SoftmaxCrossEntropy.LossAndGradient(
            context, gradient.Span, targets, new CutCrossEntropyOptions { Reduction = reduction });

        string what = $"{logits.Rows} x {logits.Columns}";
        Near.AssertNear(oracle.Loss(reduction), loss, oracle.ReducedLossBound(reduction), $"loss of {what}");
        gradient.AssertGapsUntouched(what);
        for (int row = 0; row < logits.Rows; row++)
            for (int column = 0; column < logits.Columns; column++)
            {
                (double expected, double bound) = oracle.DEmbedding(row, column, gradLosses);
                Near.AssertNear(expected, gradient[row, column], bound, $"gradient[{row}, {column}] of {what}");
            }
    }
}
