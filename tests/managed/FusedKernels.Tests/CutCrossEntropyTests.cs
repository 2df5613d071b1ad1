using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

/// <summary>The plain loss, at sizes where kernels change their path, and the conventions of every loss.</summary>
[TestClass, RunOnEveryInstructionSet]
public sealed class CutCrossEntropyTests
{
    [TestMethod, BackendData(LossReduction.Mean, LossReduction.Sum, LossReduction.None)]
    public void ForwardAndBackwardMatchOracle(string backend, LossReduction reduction)
    {
        using FusedContext context = Backends.Create(backend);
        foreach ((int rows, int classes, int dims) in Sizes.Triples())
        {
            CutCrossEntropyProblem problem = new(rows, classes, dims)
            {
                Options = new() { Reduction = reduction },
                GradLoss = reduction == LossReduction.None ? null : -1.5f,
                GradLosses = reduction == LossReduction.None ? CutCrossEntropyProblem.Gradients(rows) : null,
            };
            CutCrossEntropyOracle oracle = new(problem);
            problem.AssertForward(problem.Forward(context), oracle);
            problem.AssertGradients(problem.Backward(context), oracle);
        }
    }

    [TestMethod, BackendData(LossSchedule.Auto, LossSchedule.Recompute, LossSchedule.Fused)]
    public void LossAndGradientMatchesOracle(string backend, LossSchedule schedule)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (CutCrossEntropyProblem problem in CutCrossEntropyProblem.OfAllSizes(new() { Schedule = schedule }))
        {
            CutCrossEntropyOracle oracle = new(problem);
            CutCrossEntropyResult result = problem.LossAndGradient(context);
            problem.AssertForward(result, oracle);
            problem.AssertGradients(result, oracle);
        }
    }

    [TestMethod, BackendData]
    public void ShortFormsAreTheLongOnes(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(17, 65, 9), same = new(17, 65, 9);
        CutCrossEntropyResult result = problem.LossAndGradient(context);
        float[] logSumExp = new float[17];
        Assert.AreEqual(result.Loss, CutCrossEntropy.LossAndGradient(
            context, same.Embeddings.Span, same.Classifier.Span, same.Targets, same.DEmbeddings.Span, same.DClassifier.Span,
            default, logSumExp));
        CollectionAssert.AreEqual(problem.LogSumExp, logSumExp);
        AssertSameGradients(problem, same);

        problem = new(17, 65, 9) { GradLoss = -2 };
        Assert.AreEqual(problem.Forward(context).Loss, CutCrossEntropy.Forward(
            context, same.Embeddings.Span, same.Classifier.Span, same.Targets, default, logSumExp));
        problem.Backward(context);
        CutCrossEntropy.Backward(
            context, same.Embeddings.Span, same.Classifier.Span, same.Targets, logSumExp, same.DEmbeddings.Span,
            same.DClassifier.Span, default, gradLoss: -2);
        AssertSameGradients(problem, same);
    }

    [TestMethod, BackendData]
    public void UnwantedGradientsAreLeftOut(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem all = new(17, 65, 9), one = new(17, 65, 9);
        CutCrossEntropy.LossAndGradient(
            context, all.Embeddings.Span, all.Classifier.Span, all.Targets, all.DEmbeddings.Span, all.DClassifier.Span);
        CutCrossEntropy.LossAndGradient(
            context, one.Embeddings.Span, one.Classifier.Span, one.Targets, one.DEmbeddings.Span, default, default,
            one.LogSumExp);
        CollectionAssert.AreEqual(all.DEmbeddings.Bits(), one.DEmbeddings.Bits());
        CutCrossEntropy.Backward(
            context, one.Embeddings.Span, one.Classifier.Span, one.Targets, one.LogSumExp, default, one.DClassifier.Span);
        one.AssertGradients(new CutCrossEntropyOracle(one));
    }

    [TestMethod, BackendData]
    public void LongTargetsGiveTheSameBits(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(33, 40, 8), other = new(33, 40, 8) { LongTargets = true };
        Assert.AreEqual(problem.LossAndGradient(context), other.LossAndGradient(context));
        AssertSameGradients(problem, other);
        CollectionAssert.AreEqual(problem.LogSumExp, other.LogSumExp);
    }

    [TestMethod, BackendData]
    public void IgnoreIndexMayBeZeroOrNone(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(5, 7, 3)
        {
            Targets = [4, 0, 6, 0, 0], Options = new() { IgnoreIndex = 0 },
        };
        CutCrossEntropyOracle oracle = new(problem);
        CutCrossEntropyResult result = problem.LossAndGradient(context);
        problem.AssertForward(result, oracle);
        problem.AssertGradients(oracle);
        for (int d = 0; d < 3; d++) Assert.AreEqual(0f, problem.DEmbeddings[1, d], "an ignored row has gradient 0");

        problem.Options = new() { IgnoreIndex = null };
        problem.AssertForward(problem.Forward(context), new CutCrossEntropyOracle(problem));
    }

    [TestMethod, BackendData]
    public void AllRowsIgnoredGiveZero(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(4, 6, 3) { Targets = [-100, -100, -100, -100] };
        CutCrossEntropyTensors tensors = problem.Inputs();
        tensors.DEmbeddings = problem.DEmbeddings.Span;
        tensors.DClassifier = problem.DClassifier.Span;
        tensors.WantAccuracy = true;
        CutCrossEntropyResult result = CutCrossEntropy.LossAndGradient(context, tensors);
        Assert.AreEqual(new CutCrossEntropyResult { Loss = 0, Perplexity = 1, Accuracy = 0 }, result);
        Assert.IsTrue(problem.DEmbeddings.Elements().Concat(problem.DClassifier.Elements()).All(value => value == 0));
    }

    [TestMethod, BackendData]
    public void NoRowsGiveZeroLossAndGradient(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        float[,] embeddings = new float[0, 3];
        TestMatrix classifier = TestMatrix.Random(6, 3, 1), dClassifier = new(6, 3);
        float loss = CutCrossEntropy.LossAndGradient(
            context, embeddings, classifier.Span, ReadOnlySpan<int>.Empty, default, dClassifier.Span);
        Assert.AreEqual(0f, loss);
        Assert.IsTrue(dClassifier.Elements().All(value => value == 0));
        dClassifier[0, 0] = 1;
        CutCrossEntropy.Backward(
            context, embeddings, classifier.Span, ReadOnlySpan<int>.Empty, default, default, dClassifier.Span);
        Assert.IsTrue(dClassifier.Elements().All(value => value == 0));
    }

    [TestMethod, BackendData(1e4f, 300f)]
    public void ExtremeLogitsStayFinite(string backend, float scale)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(19, 67, 1) { Options = new() { Reduction = LossReduction.None } };
        // With D = 1 and embeddings of +-1, the logits are the classifier's elements and carry no rounding of their own.
        for (int row = 0; row < 19; row++) problem.Embeddings[row, 0] = row % 2 == 0 ? 1 : -1;
        for (int v = 0; v < 67; v++) problem.Classifier[v, 0] = v switch { 0 => scale, 1 => -scale, _ => 0 };
        CutCrossEntropyOracle oracle = new(problem);
        CutCrossEntropyResult result = problem.LossAndGradient(context);
        problem.AssertForward(result, oracle);
        problem.AssertGradients(oracle);
        Assert.IsTrue(problem.Losses.All(loss => loss >= 0), "no loss is negative");
    }

    [TestMethod, BackendData]
    public void EqualLogitsGiveTheLogarithmOfTheClasses(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        float[,] embeddings = { { 1, 2 }, { 3, 4 } }, classifier = new float[1000, 2];
        CutCrossEntropyResult result = CutCrossEntropy.Forward(
            context,
            new CutCrossEntropyTensors { Embeddings = embeddings, Classifier = classifier, Targets = new[] { 1, 999 } });
        // A sum of ones is exact; only the logarithm and the mean round.
        Near.AssertNear(Math.Log(1000), result.Loss, 8 * Near.Unit * Math.Log(1000), "loss");
        // exp multiplies the loss's error by its own value.
        Near.AssertNear(1000, result.Perplexity!.Value, 1000 * 16 * Near.Unit * Math.Log(1000), "perplexity");
    }

    [TestMethod, BackendData]
    public void NaNStaysInItsRow(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(20, 33, 5) { Options = new() { Reduction = LossReduction.None } };
        problem.Embeddings[7, 2] = float.NaN;
        problem.Embeddings[8, 0] = float.PositiveInfinity;
        problem.Embeddings[9, 0] = float.NaN; // ignored
        problem.Forward(context);
        for (int row = 0; row < 20; row++)
            Assert.AreEqual(row is 7 or 8, float.IsNaN(problem.Losses[row]), $"losses[{row}] = {problem.Losses[row]}");
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            CutCrossEntropyProblem problem = new(150, 517, 33);
            float loss = problem.LossAndGradient(context).Loss;
            int[] fused = [.. problem.DEmbeddings.Bits(), .. problem.DClassifier.Bits()];
            problem.Backward(context);
            return [BitConverter.SingleToInt32Bits(loss), .. problem.LogSumExp.Select(BitConverter.SingleToInt32Bits), .. fused,
                .. problem.DEmbeddings.Bits(), .. problem.DClassifier.Bits()];
        });

    private static void AssertSameGradients(CutCrossEntropyProblem expected, CutCrossEntropyProblem actual)
    {
        CollectionAssert.AreEqual(expected.DEmbeddings.Bits(), actual.DEmbeddings.Bits());
        CollectionAssert.AreEqual(expected.DClassifier.Bits(), actual.DClassifier.Bits());
    }
}
