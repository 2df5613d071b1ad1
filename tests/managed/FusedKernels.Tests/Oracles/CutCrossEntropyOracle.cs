namespace FusedKernels.Tests.Oracles;

/// <summary>Cut cross-entropy by plain loops in double, with bounds on what a float computation may differ by.</summary>
internal sealed class CutCrossEntropyOracle
{
    // Errors of float's exp and log in the kernels are a few units; sixteen leaves room for both and for their arguments.
    private const double FunctionError = 16 * Near.Unit;

    // Probabilities below float's normal range may come out as zero.
    private const double Underflow = 1e-36;

    private readonly TestMatrix _embeddings, _classifier;
    private readonly int[] _targets;
    private readonly double[,] _scores;
    private readonly bool[] _ignored;

    public CutCrossEntropyOracle(TestMatrix embeddings, TestMatrix classifier, int[] targets, long? ignoreIndex = -100)
    {
        (_embeddings, _classifier, _targets) = (embeddings, classifier, targets);
        _ignored = [.. targets.Select(target => target == ignoreIndex)];
        _scores = new double[Rows, Classes];
        LogSumExp = new double[Rows];
        LogSumExpBound = new double[Rows];
        Losses = new double[Rows];
        LossBound = new double[Rows];
        ProbabilityError = new double[Rows];
        for (int row = 0; row < Rows; row++) ComputeRow(row);
    }

    public double[] LogSumExp { get; }

    public double[] LogSumExpBound { get; }

    public double[] Losses { get; }

    public double[] LossBound { get; }

    /// <summary>The relative error of each row's probabilities.</summary>
    private double[] ProbabilityError { get; }

    private int Rows => _embeddings.Rows;

    private int Classes => _classifier.Rows;

    private int Counted => _ignored.Count(ignored => !ignored);

    public double RowScale(LossReduction reduction) => reduction == LossReduction.Mean ? 1.0 / Math.Max(1, Counted) : 1;

    public double Loss(LossReduction reduction) => Losses.Sum() * RowScale(reduction);

    public double ReducedLossBound(LossReduction reduction) =>
        (LossBound.Sum() + Near.Gamma(Rows + 2) * Losses.Sum(Math.Abs)) * RowScale(reduction);

    /// <summary>The gradient of one embedding element; <paramref name="gradLosses"/> arrives at the rows' losses.</summary>
    public (double Expected, double Bound) DEmbedding(int row, int d, double[] gradLosses)
    {
        Value sum = default;
        for (int v = 0; v < Classes; v++) sum += DScore(row, v, gradLosses[row], _classifier[v, d]);
        return (sum.Sum, (ProbabilityError[row] + Near.Gamma(Classes + 4)) * sum.Magnitude + Underflow * Classes);
    }

    /// <summary>The gradient of one classifier element.</summary>
    public (double Expected, double Bound) DClassifier(int v, int d, double[] gradLosses)
    {
        Value sum = default;
        for (int row = 0; row < Rows; row++) sum += DScore(row, v, gradLosses[row], _embeddings[row, d]);
        double probabilityError = Rows == 0 ? 0 : ProbabilityError.Max();
        return (sum.Sum, (probabilityError + Near.Gamma(Rows + 4)) * sum.Magnitude + Underflow * Rows);
    }

    private Value DScore(int row, int v, double gradLoss, double factor)
    {
        if (_ignored[row]) return default;
        double probability = Math.Exp(_scores[row, v] - LogSumExp[row]);
        double isTarget = v == _targets[row] ? 1 : 0;
        return new Value(
            gradLoss * (probability - isTarget) * factor, Math.Abs(gradLoss * factor) * (probability + isTarget));
    }

    private void ComputeRow(int row)
    {
        double largest = double.NegativeInfinity, magnitude = 0;
        for (int v = 0; v < Classes; v++)
        {
            Value score = default;
            for (int d = 0; d < _embeddings.Columns; d++)
                score += Value.Term((double)_embeddings[row, d] * _classifier[v, d]);
            _scores[row, v] = score.Sum;
            largest = Math.Max(largest, score.Sum);
            magnitude = Math.Max(magnitude, score.Magnitude);
        }
        double sum = 0;
        for (int v = 0; v < Classes; v++) sum += Math.Exp(_scores[row, v] - largest);
        LogSumExp[row] = largest + Math.Log(sum);

        // Every score is off by at most gamma(D) of its terms; differences of scores round once more.
        double scoreError = Near.Gamma(_embeddings.Columns + 2) * magnitude;
        LogSumExpBound[row] = scoreError + Near.Gamma(Classes) + FunctionError + 4 * Near.Unit * magnitude;
        ProbabilityError[row] = LogSumExpBound[row] + scoreError + FunctionError + 4 * Near.Unit * magnitude;
        if (_ignored[row]) return;
        Losses[row] = LogSumExp[row] - _scores[row, _targets[row]];
        LossBound[row] = LogSumExpBound[row] + scoreError + 2 * Near.Unit * magnitude;
    }
}
