using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

/// <summary>Every option and every optional array of cut cross-entropy against the oracle, in both schedules and in forward
/// with backward.</summary>
[TestClass, RunOnEveryInstructionSet]
public sealed class CutCrossEntropyOptionTests
{
    private const int Rows = 36, Classes = 143, Dims = 19;

    [TestMethod, BackendData("Bias", "ClassWeights", "RowWeights", "GradLogSumExp", "GradEntropy", "TargetProbabilities",
        "Shift", "ShiftInSequences", "LogitScale", "Softcap", "LabelSmoothing", "ZLoss", "Focal", "Poly1", "Generalised",
        "GeneralisedNegative", "MeanAbsoluteError", "TokenScaled", "OrderVocabulary", "All", "AllShaped", "AllProbabilities")]
    public void OptionMatchesOracle(string backend, string option)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (LossReduction reduction in Enum.GetValues<LossReduction>())
        {
            CutCrossEntropyProblem problem = Create(option);
            problem.Options = problem.Options with { Reduction = reduction };
            CutCrossEntropyOracle oracle = new(problem);
            problem.AssertForward(problem.Forward(context), oracle);
            problem.AssertGradients(problem.Backward(context), oracle);
            foreach (LossSchedule schedule in Enum.GetValues<LossSchedule>())
            {
                problem.Options = problem.Options with { Schedule = schedule };
                CutCrossEntropyResult result = problem.LossAndGradient(context);
                problem.AssertForward(result, oracle);
                problem.AssertGradients(result, oracle);
            }
        }
    }

    [TestMethod]
    [DataRow(ElementType.Float, ElementType.BFloat16)]
    [DataRow(ElementType.Float, ElementType.Half)]
    [DataRow(ElementType.BFloat16, ElementType.Float)]
    [DataRow(ElementType.BFloat16, ElementType.BFloat16)]
    [DataRow(ElementType.BFloat16, ElementType.Half)]
    [DataRow(ElementType.Half, ElementType.Float)]
    [DataRow(ElementType.Half, ElementType.BFloat16)]
    [DataRow(ElementType.Half, ElementType.Half)]
    public void StoredTypesMatchOracle(ElementType embeddings, ElementType classifier)
    {
        foreach (string backend in Backends.Names)
        {
            using FusedContext context = Backends.Create(backend);
            foreach (int dims in (int[])[1, 17, 130])
            {
                CutCrossEntropyProblem problem = new(37, 67, dims, embeddings, classifier);
                // The oracle reads the rounded inputs, so only float's own accumulation lies between it and the result.
                CutCrossEntropyOracle oracle = new(problem);
                problem.AssertForward(problem.Forward(context), oracle);
                problem.AssertGradients(problem.Backward(context), oracle);
                CutCrossEntropyResult result = problem.LossAndGradient(context);
                problem.AssertForward(result, oracle);
                problem.AssertGradients(result, oracle);
            }
        }
    }

    [TestMethod, BackendData(1, 3, 32)]
    public void TopTokensAreTheMostLikely(string backend, int count)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (int classes in (int[])[2, 20, 300])
        {
            CutCrossEntropyProblem problem = new(Rows, classes, Dims);
            CutCrossEntropyOracle oracle = new(problem);
            int[,] tokens = new int[Rows, count];
            float[,] logProbabilities = new float[Rows, count];
            CutCrossEntropyTensors tensors = problem.Inputs();
            tensors.TopTokens = tokens;
            tensors.TopLogProbabilities = logProbabilities;
            CutCrossEntropy.Forward(context, tensors);
            for (int row = 0; row < Rows; row++)
                AssertTopTokens(
                    oracle, problem.IsIgnored(row), classes, row, tokens.GetRowSpan(row), logProbabilities.GetRowSpan(row));
        }
    }

    [TestMethod, BackendData]
    public void WithoutALossNoTargetsAreNeeded(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        float[] gradients = CutCrossEntropyProblem.Gradients(Rows);
        CutCrossEntropyProblem problem = new(Rows, Classes, Dims)
        {
            // For the oracle: targets that no gradient reaches.
            Targets = new int[Rows], GradLosses = new float[Rows], Options = new() { Reduction = LossReduction.None },
            GradLogSumExp = gradients, GradEntropy = gradients,
        };
        CutCrossEntropyOracle oracle = new(problem);
        int[,] tokens = new int[Rows, 1];
        CutCrossEntropyTensors tensors = new()
        {
            Embeddings = problem.Embeddings.Span, Classifier = problem.Classifier.Span, LogSumExp = problem.LogSumExp,
            Entropy = problem.Entropy, TopTokens = tokens,
        };
        Assert.IsTrue(float.IsNaN(CutCrossEntropy.Forward(context, tensors, problem.Options).Loss));
        for (int row = 0; row < Rows; row++)
        {
            oracle.LogSumExp[row].AssertNear(problem.LogSumExp[row], $"logSumExp[{row}]");
            oracle.Entropy[row].AssertNear(problem.Entropy[row], $"entropy[{row}]");
            Bounded best = Enumerable.Range(0, Classes).Select(v => oracle.Logit(row, v)).MaxBy(logit => logit.Value);
            Assert.AreEqual(best, oracle.Logit(row, tokens[row, 0]));
        }

        tensors.TopTokens = default;
        tensors.GradLogSumExp = gradients;
        tensors.GradEntropy = gradients;
        tensors.DEmbeddings = problem.DEmbeddings.Span;
        tensors.DClassifier = problem.DClassifier.Span;
        CutCrossEntropy.Backward(context, tensors, problem.Options);
        problem.AssertGradients(oracle);
        CutCrossEntropy.LossAndGradient(context, tensors, problem.Options);
        problem.AssertGradients(oracle);
    }

    [TestMethod, BackendData]
    public void AmongEqualClassesTheLowestIsTheMostLikely(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        float[,] embeddings = { { 1 }, { 1 }, { 1 } }, classifier = { { 0 }, { 2 }, { 1 }, { 2 } };
        int[,] tokens = new int[3, 5];
        CutCrossEntropyResult result = CutCrossEntropy.Forward(context, new CutCrossEntropyTensors
        {
            Embeddings = embeddings, Classifier = classifier, Targets = new[] { 1, 3, 0 }, TopTokens = tokens,
            WantAccuracy = true,
        });
        CollectionAssert.AreEqual(new[] { 1, 3, 2, 0, -1 }, tokens.GetRowSpan(2).ToArray());
        // "whose target no class exceeds (ties to the lowest class)": row 1's target 3 loses its tie with class 1.
        Assert.AreEqual(1 / 3f, result.Accuracy);
    }

    [TestMethod, BackendData]
    public void AccuracyIsTheShareOfRowsWhoseTargetIsTheMostLikely(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        // Class v is most likely where the embedding points to it; targets are right in rows 0, 1 and 3, row 4 is ignored.
        float[,] embeddings = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 0, 1, 0 }, { 1, 0, 0 } };
        float[,] classifier = { { 5, 0, 0 }, { 0, 5, 0 }, { 0, 0, 5 } };
        CutCrossEntropyTensors tensors = new()
        {
            Embeddings = embeddings, Classifier = classifier, Targets = new[] { 0, 1, 0, 1, -100 }, WantAccuracy = true,
        };
        Assert.AreEqual(0.75f, CutCrossEntropy.Forward(context, tensors).Accuracy);
        Assert.AreEqual(0.75f, CutCrossEntropy.LossAndGradient(context, tensors).Accuracy);
        tensors.WantAccuracy = false;
        Assert.IsNull(CutCrossEntropy.Forward(context, tensors).Accuracy);
    }

    [TestMethod, BackendData]
    public void PerplexityIsThatOfThePlainMeanOnly(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(5, 7, 3);
        CutCrossEntropyResult result = problem.Forward(context);
        Assert.AreEqual(MathF.Exp(result.Loss), result.Perplexity);
        Assert.IsNull(problem.Backward(context).Perplexity);
        foreach (CutCrossEntropyOptions options in (CutCrossEntropyOptions[])[
            new() { Reduction = LossReduction.Sum }, new() { Reduction = LossReduction.None }, new() { ZLoss = 1 },
            new() { LabelSmoothing = 0.1f }, new() { LossShape = LossShape.Focal(2) }])
        {
            problem.Options = options;
            Assert.IsNull(problem.Forward(context).Perplexity, $"{options}");
        }
    }

    [TestMethod, BackendData]
    public void FilterErrorIsBelowItsReportedBound(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (bool ordered in (bool[])[false, true])
        {
            CutCrossEntropyProblem exact = Confident(), filtered = Confident();
            exact.LossAndGradient(context);
            float[] dropped = new float[exact.Rows];
            CutCrossEntropyOptions options = new()
            {
                FilterDEmbeddings = CutCrossEntropyOptions.DefaultFilterEpsilon, FilterDClassifier = 0.01f,
                OrderVocabulary = ordered,
            };
            FilterReport report = LossAndGradient(context, filtered, options, dropped);
            Assert.IsGreaterThan(0, report.DEmbeddingsTilesSkipped);
            Assert.IsGreaterThan(report.DEmbeddingsTilesSkipped, report.DEmbeddingsTiles);
            Assert.IsGreaterThan(0, report.DClassifierTilesSkipped);
            Assert.IsGreaterThan(report.DClassifierTilesSkipped, report.DClassifierTiles);
            // Both gradients carry float's rounding too, each at most the oracle's bound.
            CutCrossEntropyOracle oracle = new(exact);
            AssertDistance(exact.DEmbeddings, filtered.DEmbeddings, report.DEmbeddingsError, oracle.DEmbedding);
            AssertDistance(exact.DClassifier, filtered.DClassifier, report.DClassifierError, oracle.DClassifier);
            Assert.AreEqual(dropped.Max(), report.MaxDroppedProbability, 1e-6 * dropped.Max());
        }
    }

    [TestMethod, BackendData]
    public void EachFilterTouchesItsOwnGradient(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem exact = Confident(), filtered = Confident();
        exact.LossAndGradient(context);
        FilterReport report = LossAndGradient(context, filtered, new() { FilterDEmbeddings = 0.01f }, null);
        Assert.IsGreaterThan(0, report.DEmbeddingsTilesSkipped);
        Assert.AreEqual(0, report.DClassifierTilesSkipped);
        Assert.AreEqual(0, report.DClassifierError);
        CollectionAssert.AreEqual(exact.DClassifier.Bits(), filtered.DClassifier.Bits());
        report = LossAndGradient(context, filtered, new() { FilterDClassifier = 0.01f }, null);
        Assert.AreEqual(0, report.DEmbeddingsTilesSkipped);
        Assert.AreEqual(0, report.MaxDroppedProbability);
        Assert.IsGreaterThan(0, report.DClassifierTilesSkipped);
        CollectionAssert.AreEqual(exact.DEmbeddings.Bits(), filtered.DEmbeddings.Bits());
    }

    private static CutCrossEntropyProblem Create(string option)
    {
        CutCrossEntropyOptions all = new()
        {
            LogitScale = 0.75f, Softcap = 6, ZLoss = 0.05f, Shift = 1, IgnoreIndex = -7,
        };
        float[] bias = [.. TestMatrix.Random(1, Classes, 4).Elements()];
        float[] classWeights = CutCrossEntropyProblem.Weights(Classes), rowWeights = CutCrossEntropyProblem.Weights(Rows);
        float[] gradients = CutCrossEntropyProblem.Gradients(Rows);
        CutCrossEntropyProblem With(CutCrossEntropyOptions options) => new(Rows, Classes, Dims) { Options = options };
        return option switch
        {
            "Bias" => new(Rows, Classes, Dims) { Bias = bias },
            "ClassWeights" => new(Rows, Classes, Dims) { ClassWeights = classWeights },
            "RowWeights" => new(Rows, Classes, Dims) { RowWeights = rowWeights },
            "GradLogSumExp" => new(Rows, Classes, Dims) { GradLogSumExp = gradients },
            "GradEntropy" => new(Rows, Classes, Dims) { GradEntropy = gradients },
            "TargetProbabilities" => new(Rows, Classes, Dims) { TargetProbabilities = Probabilities() },
            "Shift" => With(new() { Shift = 3 }),
            "ShiftInSequences" => new(Rows, Classes, Dims) { SequenceLength = 9, Options = new() { Shift = 2 } },
            "LogitScale" => With(new() { LogitScale = -1.7f }),
            "Softcap" => With(new() { Softcap = 4 }),
            "LabelSmoothing" => With(new() { LabelSmoothing = 0.2f }),
            "ZLoss" => With(new() { ZLoss = 0.1f }),
            "Focal" => With(new() { LossShape = LossShape.Focal(2) }),
            "Poly1" => With(new() { LossShape = LossShape.Poly1(-0.5f) }),
            "Generalised" => With(new() { LossShape = LossShape.Generalised(0.7f) }),
            "GeneralisedNegative" => With(new() { LossShape = LossShape.Generalised(-0.3f) }),
            "MeanAbsoluteError" => With(new() { LossShape = LossShape.MeanAbsoluteError }),
            "TokenScaled" => With(new() { LossShape = LossShape.TokenScaled }),
            "OrderVocabulary" => With(new() { OrderVocabulary = true }),
            "All" => new(Rows, Classes, Dims)
            {
                Options = all with { LabelSmoothing = 0.1f }, SequenceLength = 12, Bias = bias, ClassWeights = classWeights,
                RowWeights = rowWeights, GradLogSumExp = gradients, GradEntropy = gradients, LongTargets = true,
                Targets = [.. Enumerable.Range(0, Rows).Select(row => row % 7 == 3 ? -7 : 5 * row % Classes)],
            },
            "AllShaped" => new(Rows, Classes, Dims, ElementType.BFloat16, ElementType.Half)
            {
                Options = all with { LossShape = LossShape.Focal(1.5f) }, Bias = bias, ClassWeights = classWeights,
                RowWeights = rowWeights, GradLogSumExp = gradients, GradEntropy = gradients,
                Targets = [.. Enumerable.Range(0, Rows).Select(row => row % 7 == 3 ? -7 : 5 * row % Classes)],
            },
            "AllProbabilities" => new(Rows, Classes, Dims)
            {
                Options = all with { Shift = 0, LabelSmoothing = 0.1f }, TargetProbabilities = Probabilities(), Bias = bias,
                ClassWeights = classWeights, RowWeights = rowWeights, GradLogSumExp = gradients, GradEntropy = gradients,
            },
            _ => throw new ArgumentException(option),
        };
    }

    // Two classes share each row's probability; the rows' sums differ from 1, which is allowed.
    private static TestMatrix Probabilities()
    {
        TestMatrix matrix = new(Rows, Classes);
        for (int row = 0; row < Rows; row++)
            for (int v = 0; v < Classes; v++)
                matrix[row, v] = v == 3 * row ? 0.75f : v == row ? 0.375f : 0;
        return matrix;
    }

    // Rows of one class each, far from the others: nearly all probability is the target's, so that most tiles matter little.
    private static CutCrossEntropyProblem Confident()
    {
        const int Count = 400;
        CutCrossEntropyProblem problem = new(200, Count, 64)
        {
            Targets = [.. Enumerable.Range(0, 200).Select(row => 7 * row % Count)],
        };
        for (int row = 0; row < 200; row++)
            for (int d = 0; d < 64; d++) problem.Embeddings[row, d] = 0.6f * problem.Classifier[problem.Targets[row], d];
        return problem;
    }

    private static FilterReport LossAndGradient(
        FusedContext context, CutCrossEntropyProblem problem, CutCrossEntropyOptions options, float[]? dropped)
    {
        CutCrossEntropyTensors tensors = problem.Inputs();
        tensors.DEmbeddings = problem.DEmbeddings.Span;
        tensors.DClassifier = problem.DClassifier.Span;
        tensors.DroppedProbability = dropped;
        tensors.WantFilterReport = true;
        return CutCrossEntropy.LossAndGradient(context, tensors, options).FilterReport!.Value;
    }

    // The Frobenius norm of the difference is below the reported bound, and large enough to be the filter's.
    private static void AssertDistance(
        TestMatrix exact, TestMatrix filtered, double reported, Func<int, int, Bounded> oracle)
    {
        double distance = 0, rounding = 0;
        for (int row = 0; row < exact.Rows; row++)
            for (int d = 0; d < exact.Columns; d++)
            {
                distance += Math.Pow((double)exact[row, d] - filtered[row, d], 2);
                rounding += Math.Pow(oracle(row, d).Error, 2);
            }
        Assert.IsLessThanOrEqualTo(reported + 2 * Math.Sqrt(rounding), Math.Sqrt(distance));
        Assert.IsGreaterThan(2 * Math.Sqrt(rounding), Math.Sqrt(distance), "the filter's error is more than rounding");
    }

    private static void AssertTopTokens(
        CutCrossEntropyOracle oracle, bool isIgnored, int classes, int row, Span<int> tokens, Span<float> logProbabilities)
    {
        if (isIgnored)
        {
            Assert.IsFalse(tokens.ContainsAnyExcept(-1));
            Assert.IsFalse(logProbabilities.ContainsAnyExcept(0));
            return;
        }
        Bounded[] best = [.. Enumerable.Range(0, classes)
            .Select(v => oracle.LogProbability(row, v)).OrderByDescending(p => p.Value)];
        Assert.AreEqual(Math.Min(tokens.Length, classes), tokens.ToArray().Where(v => v >= 0).Distinct().Count());
        for (int k = 0; k < tokens.Length; k++)
        {
            if (k >= classes)
            {
                Assert.AreEqual(-1, tokens[k]);
                Assert.AreEqual(float.NegativeInfinity, logProbabilities[k]);
                continue;
            }
            oracle.LogProbability(row, tokens[k]).AssertNear(logProbabilities[k], $"logProbabilities[{row}, {k}]");
            best[k].AssertNear(logProbabilities[k], $"the {k}-th best of row {row}");
        }
    }
}
