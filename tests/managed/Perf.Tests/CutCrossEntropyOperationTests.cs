using FusedKernels.Perf.Comparison;
using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class CutCrossEntropyOperationTests
{
    [TestMethod]
    public void PeakedScoresOfTheTargetStandTwelveAboveTheRest()
    {
        (int rows, int classes, int dims) = (8, 500, 256);
        CutCrossEntropyInputs inputs = CutCrossEntropyInputs.Peaked(rows, classes, dims);
        List<double> ofTargets = [], ofOthers = [];
        for (int row = 0; row < rows; row++)
        {
            for (int v = 0; v < classes; v++)
            {
                (v == inputs.Targets[row] ? ofTargets : ofOthers).Add(Score(inputs, row, v));
            }
        }

        // embedding . classifier[v] is 0.3 times a normal value times the norm of a row of the classifier, which is 1 up to
        // some 1 / sqrt(2 D) = 0.04, plus 12 at the target and 12 / sqrt(D) = 0.75 times a normal value elsewhere.
        Assert.AreEqual(12, ofTargets.Average(), 5 * 0.3 * 1.1 / Math.Sqrt(rows));
        Assert.IsTrue(ofTargets.All(score => Math.Abs(score - 12) < 6 * 0.3 * 1.2));
        Assert.AreEqual(0, ofOthers.Average(), 5 * 0.81 / Math.Sqrt(ofOthers.Count));
        double expected = Math.Sqrt((0.3 * 0.3) + (12.0 * 12 / dims));
        Assert.AreEqual(expected, Math.Sqrt(ofOthers.Average(score => score * score)), 0.1 * expected);
    }

    [TestMethod]
    public void FilterAccuracyOfTheConfidentModelIsWithinItsBounds()
    {
        using FusedContext context = FusedContext.Cpu(1);
        Dictionary<string, double> figures =
            CutCrossEntropyOperation.FilterAccuracy(context, 64, 2000, 1024).ToDictionary(f => f.Unit, f => f.Value);

        // The target holds 0.985 of the probability, the others 8e-6 each, far below the filter's 2^-12 = 2.4e-4: what is
        // kept is the micro-tiles of the targets, at most 64 x 32 scores of 128,000 for either product.
        foreach (string skipped in (string[])[Units.SkippedOfDEmbeddings, Units.SkippedOfDClassifier])
        {
            Assert.IsInRange(0.9, 1.0, figures[skipped]);
        }

        Assert.IsInRange(1e-3, 0.05, figures[Units.DroppedProbability]);
        AssertWithinBound(figures[Units.DEmbeddingsError], figures[Units.DEmbeddingsErrorBound]);
        AssertWithinBound(figures[Units.DClassifierError], figures[Units.DClassifierErrorBound]);
    }

    private static void AssertWithinBound(double error, double bound)
    {
        Assert.IsGreaterThan(0.0, error);
        Assert.IsLessThanOrEqualTo(bound, error);
    }

    private static double Score(CutCrossEntropyInputs inputs, int row, int v)
    {
        double score = 0;
        for (int i = 0; i < inputs.Dimensions; i++)
        {
            int inRow = (row * inputs.Dimensions) + i, inClass = (v * inputs.Dimensions) + i;
            score += (double)inputs.Embeddings[inRow] * inputs.Classifier[inClass];
        }

        return score;
    }
}
