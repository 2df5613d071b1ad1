using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class CutCrossEntropyTests
{
    [TestMethod, BackendData(LossReduction.Mean, LossReduction.Sum)]
    public void ForwardMatchesOracle(string backend, LossReduction reduction)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (Problem problem in Problem.OfAllSizes())
        {
            float[] logSumExp = new float[problem.Rows];
            float loss = CutCrossEntropy.Forward(
                context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets,
                new CutCrossEntropyOptions { Reduction = reduction }, logSumExp);

            CutCrossEntropyOracle oracle = problem.Oracle();
            Near.AssertNear(oracle.Loss(reduction), loss, oracle.ReducedLossBound(reduction), $"loss of {problem}");
            for (int row = 0; row < problem.Rows; row++)
                Near.AssertNear(
                    oracle.LogSumExp[row], logSumExp[row], oracle.LogSumExpBound[row], $"logSumExp[{row}] of {problem}");
        }
    }

    [TestMethod, BackendData]
    public void PerRowMatchesOracle(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (Problem problem in Problem.OfAllSizes())
        {
            float[] losses = new float[problem.Rows];
            CutCrossEntropy.ForwardPerRow(
                context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, losses);
            CutCrossEntropyOracle oracle = problem.Oracle();
            for (int row = 0; row < problem.Rows; row++)
                Near.AssertNear(oracle.Losses[row], losses[row], oracle.LossBound[row], $"losses[{row}] of {problem}");
        }
    }

    [TestMethod, BackendData(LossReduction.Mean, LossReduction.Sum)]
    public void BackwardMatchesOracle(string backend, LossReduction reduction)
    {
        using FusedContext context = Backends.Create(backend);
        const float GradLoss = -1.5f;
        foreach (Problem problem in Problem.OfAllSizes())
        {
            CutCrossEntropyOptions options = new() { Reduction = reduction };
            float[] logSumExp = problem.Forward(context, options);
            CutCrossEntropy.Backward(
                context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, logSumExp,
                problem.DEmbeddings.Span, problem.DClassifier.Span, options, GradLoss);
            double gradient = GradLoss * problem.Oracle().RowScale(reduction);
            problem.AssertGradients(gradient);
        }
    }

    [TestMethod, BackendData]
    public void BackwardPerRowMatchesOracle(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (Problem problem in Problem.OfAllSizes())
        {
            float[] logSumExp = problem.Forward(context, default);
            float[] gradLosses = [.. Enumerable.Range(0, problem.Rows).Select(row => 0.25f * row - 1)];
            CutCrossEntropy.BackwardPerRow(
                context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, logSumExp, gradLosses,
                problem.DEmbeddings.Span, problem.DClassifier.Span);
            problem.AssertGradients(row => gradLosses[row]);
        }
    }

    [TestMethod, BackendData(LossSchedule.Auto, LossSchedule.Recompute, LossSchedule.Fused)]
    public void LossAndGradientMatchesOracle(string backend, LossSchedule schedule)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (Problem problem in Problem.OfAllSizes())
        {
            float[] logSumExp = new float[problem.Rows];
            float loss = CutCrossEntropy.LossAndGradient(
                context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, problem.DEmbeddings.Span,
                problem.DClassifier.Span, new CutCrossEntropyOptions { Schedule = schedule }, logSumExp);

            CutCrossEntropyOracle oracle = problem.Oracle();
            Near.AssertNear(
                oracle.Loss(LossReduction.Mean), loss, oracle.ReducedLossBound(LossReduction.Mean), $"loss of {problem}");
            for (int row = 0; row < problem.Rows; row++)
                Near.AssertNear(
                    oracle.LogSumExp[row], logSumExp[row], oracle.LogSumExpBound[row], $"logSumExp[{row}] of {problem}");
            problem.AssertGradients(problem.MeanGradient);
        }
    }

    [TestMethod, BackendData]
    public void UnwantedGradientsAreLeftOut(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem all = new(17, 65, 9), one = new(17, 65, 9);
        CutCrossEntropy.LossAndGradient(
            context, all.Embeddings.Span, all.Classifier.Span, all.Targets, all.DEmbeddings.Span, all.DClassifier.Span);
        CutCrossEntropy.LossAndGradient(
            context, one.Embeddings.Span, one.Classifier.Span, one.Targets, one.DEmbeddings.Span, default);
        CollectionAssert.AreEqual(all.DEmbeddings.Bits(), one.DEmbeddings.Bits());
        CutCrossEntropy.Backward(
            context, one.Embeddings.Span, one.Classifier.Span, one.Targets, one.Forward(context, default), default,
            one.DClassifier.Span);
        one.AssertGradients(one.MeanGradient);
    }

    [TestMethod, BackendData]
    public void LongTargetsGiveTheSameBits(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(33, 40, 8), other = new(33, 40, 8);
        long[] targets = [.. problem.Targets.Select(target => (long)target)];
        float[] logSumExp = new float[33], losses = new float[33], otherLosses = new float[33];

        Assert.AreEqual(
            CutCrossEntropy.Forward(context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets),
            CutCrossEntropy.Forward(context, other.Embeddings.Span, other.Classifier.Span, targets, default, logSumExp));
        CutCrossEntropy.ForwardPerRow(context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, losses);
        CutCrossEntropy.ForwardPerRow(context, other.Embeddings.Span, other.Classifier.Span, targets, otherLosses);
        CollectionAssert.AreEqual(losses, otherLosses);

        CutCrossEntropy.LossAndGradient(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, problem.DEmbeddings.Span,
            problem.DClassifier.Span);
        CutCrossEntropy.LossAndGradient(
            context, other.Embeddings.Span, other.Classifier.Span, targets, other.DEmbeddings.Span, other.DClassifier.Span);
        CollectionAssert.AreEqual(problem.DEmbeddings.Bits(), other.DEmbeddings.Bits());

        CutCrossEntropy.Backward(
            context, other.Embeddings.Span, other.Classifier.Span, targets, logSumExp, other.DEmbeddings.Span,
            other.DClassifier.Span);
        other.AssertGradients(other.MeanGradient);
        CutCrossEntropy.BackwardPerRow(
            context, other.Embeddings.Span, other.Classifier.Span, targets, logSumExp, losses, other.DEmbeddings.Span,
            other.DClassifier.Span);
        other.AssertGradients(row => losses[row]);
    }

    [TestMethod, BackendData]
    public void IgnoreIndexMayBeZeroOrNone(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(5, 7, 3) { IgnoreIndex = 0 };
        problem.Targets[1] = problem.Targets[3] = problem.Targets[4] = 0;
        float loss = CutCrossEntropy.LossAndGradient(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, problem.DEmbeddings.Span,
            problem.DClassifier.Span, new CutCrossEntropyOptions { IgnoreIndex = 0 });
        CutCrossEntropyOracle oracle = problem.Oracle();
        Near.AssertNear(oracle.Loss(LossReduction.Mean), loss, oracle.ReducedLossBound(LossReduction.Mean), "loss");
        problem.AssertGradients(problem.MeanGradient);
        for (int d = 0; d < 3; d++) Assert.AreEqual(0f, problem.DEmbeddings[1, d], "an ignored row has gradient 0");

        problem.IgnoreIndex = null;
        loss = CutCrossEntropy.Forward(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets,
            new CutCrossEntropyOptions { IgnoreIndex = null });
        Near.AssertNear(
            problem.Oracle().Loss(LossReduction.Mean), loss, problem.Oracle().ReducedLossBound(LossReduction.Mean), "loss");
    }

    [TestMethod, BackendData]
    public void AllRowsIgnoredGiveZero(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(4, 6, 3);
        Array.Fill(problem.Targets, -100);
        float loss = CutCrossEntropy.LossAndGradient(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, problem.DEmbeddings.Span,
            problem.DClassifier.Span);
        Assert.AreEqual(0f, loss);
        Assert.IsTrue(problem.DEmbeddings.Elements().Concat(problem.DClassifier.Elements()).All(value => value == 0));
    }

    [TestMethod, BackendData]
    public void NoRowsGiveZeroLossAndGradient(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix embeddings = new(0, 3), classifier = TestMatrix.Random(6, 3, 1), dClassifier = new(6, 3);
        float loss = CutCrossEntropy.LossAndGradient(
            context, embeddings.Span, classifier.Span, ReadOnlySpan<int>.Empty, default, dClassifier.Span);
        Assert.AreEqual(0f, loss);
        Assert.IsTrue(dClassifier.Elements().All(value => value == 0));
    }

    [TestMethod, BackendData(1e4f, 300f)]
    public void ExtremeLogitsStayFinite(string backend, float scale)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(19, 67, 1);
        // With D = 1 and embeddings of +-1, the logits are the classifier's elements and carry no rounding of their own.
        for (int row = 0; row < 19; row++) problem.Embeddings[row, 0] = row % 2 == 0 ? 1 : -1;
        for (int v = 0; v < 67; v++) problem.Classifier[v, 0] = v switch { 0 => scale, 1 => -scale, _ => 0 };
        float[] losses = new float[19];
        CutCrossEntropy.ForwardPerRow(context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, losses);
        CutCrossEntropyOracle oracle = problem.Oracle();
        for (int row = 0; row < 19; row++)
            Near.AssertNear(oracle.Losses[row], losses[row], oracle.LossBound[row], $"losses[{row}]");

        CutCrossEntropy.LossAndGradient(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, problem.DEmbeddings.Span,
            problem.DClassifier.Span);
        problem.AssertGradients(problem.MeanGradient);
    }

    [TestMethod, BackendData]
    public void EqualLogitsGiveTheLogarithmOfTheClasses(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(3, 1000, 4);
        for (int v = 0; v < 1000; v++) problem.Classifier[v, 0] = problem.Classifier[v, 1] = problem.Classifier[v, 2] =
            problem.Classifier[v, 3] = 0;
        float loss = CutCrossEntropy.Forward(context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets);
        // A sum of ones is exact; only the logarithm and the mean round.
        Near.AssertNear(Math.Log(1000), loss, 8 * Near.Unit * Math.Log(1000), "loss");
    }

    [TestMethod, BackendData]
    public void NaNStaysInItsRow(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(20, 33, 5);
        problem.Embeddings[7, 2] = float.NaN;
        problem.Embeddings[8, 0] = float.PositiveInfinity;
        float[] losses = new float[20];
        CutCrossEntropy.ForwardPerRow(context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, losses);
        for (int row = 0; row < 20; row++)
            Assert.AreEqual(row is 7 or 8, float.IsNaN(losses[row]), $"losses[{row}] = {losses[row]}");
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            Problem problem = new(150, 517, 33);
            float[] logSumExp = new float[150];
            float loss = CutCrossEntropy.LossAndGradient(
                context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, problem.DEmbeddings.Span,
                problem.DClassifier.Span, default, logSumExp);
            int[] fused = [.. problem.DEmbeddings.Bits(), .. problem.DClassifier.Bits()];
            CutCrossEntropy.Backward(
                context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, logSumExp,
                problem.DEmbeddings.Span, problem.DClassifier.Span);
            return [BitConverter.SingleToInt32Bits(loss), .. logSumExp.Select(BitConverter.SingleToInt32Bits), .. fused,
                .. problem.DEmbeddings.Bits(), .. problem.DClassifier.Bits()];
        });

    [TestMethod, BackendData]
    public void TargetOutOfRangeNamesItsRow(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(5, 7, 3);
        problem.Targets[4] = 7;
        ArgumentOutOfRangeException error = Assert.ThrowsExactly<ArgumentOutOfRangeException>(
            () => CutCrossEntropy.Forward(context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets));
        Messages.AssertNames(error, "targets", "row 4 is 7");
    }

    [TestMethod, BackendData]
    public void MismatchIsNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(5, 7, 3);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => CutCrossEntropy.Forward(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets.AsSpan(1)));
        Messages.AssertNames(error, "targets", "4", "5");
    }

    [TestMethod, BackendData]
    public void ReductionNoneIsRefusedWhereOneNumberIsReturned(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(5, 7, 3);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => CutCrossEntropy.Forward(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets,
            new CutCrossEntropyOptions { Reduction = LossReduction.None }));
        Messages.AssertNames(error, "Reduction", "PerRow");
    }

    /// <summary>Random inputs; every fifth row is ignored.</summary>
    private sealed class Problem
    {
        public Problem(int rows, int classes, int dims)
        {
            Embeddings = TestMatrix.Random(rows, dims, seed: 1, scale: 2);
            Classifier = TestMatrix.Random(classes, dims, seed: 2);
            Random random = new(3);
            Targets = [.. Enumerable.Range(0, rows).Select(row => row % 5 == 4 ? -100 : random.Next(classes))];
            DEmbeddings = new TestMatrix(rows, dims);
            DClassifier = new TestMatrix(classes, dims);
        }

        public TestMatrix Embeddings { get; }

        public TestMatrix Classifier { get; }

        public int[] Targets { get; }

        public long? IgnoreIndex { get; set; } = -100;

        public TestMatrix DEmbeddings { get; }

        public TestMatrix DClassifier { get; }

        public int Rows => Embeddings.Rows;

        public static IEnumerable<Problem> OfAllSizes() =>
            Sizes.Triples().Select(size => new Problem(size.M, size.N, size.K));

        /// <summary>What a gradient of 1 at the mean gives each row; it is the same for all.</summary>
        public double MeanGradient => Oracle().RowScale(LossReduction.Mean);

        public CutCrossEntropyOracle Oracle() => new(Embeddings, Classifier, Targets, IgnoreIndex);

        public float[] Forward(FusedContext context, CutCrossEntropyOptions options)
        {
            float[] logSumExp = new float[Rows];
            CutCrossEntropy.Forward(context, Embeddings.Span, Classifier.Span, Targets, options, logSumExp);
            return logSumExp;
        }

        public void AssertGradients(double gradLoss) => AssertGradients(row => gradLoss);

        public void AssertGradients(Func<int, double> gradLoss)
        {
            CutCrossEntropyOracle oracle = Oracle();
            double[] gradLosses = [.. Enumerable.Range(0, Rows).Select(gradLoss)];
            AssertMatrix(DEmbeddings, "dEmbeddings", (row, d) => oracle.DEmbedding(row, d, gradLosses));
            AssertMatrix(DClassifier, "dClassifier", (v, d) => oracle.DClassifier(v, d, gradLosses));
        }

        public override string ToString() => $"N {Rows}, V {Classifier.Rows}, D {Embeddings.Columns}";

        private void AssertMatrix(TestMatrix matrix, string name, Func<int, int, (double Expected, double Bound)> oracle)
        {
            matrix.AssertGapsUntouched($"{name} of {this}");
            for (int row = 0; row < matrix.Rows; row++)
                for (int d = 0; d < matrix.Columns; d++)
                {
                    (double expected, double bound) = oracle(row, d);
                    Near.AssertNear(expected, matrix[row, d], bound, $"{name}[{row}, {d}] of {this}");
                }
        }
    }
}
