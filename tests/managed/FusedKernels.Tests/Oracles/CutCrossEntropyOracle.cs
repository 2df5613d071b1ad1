namespace FusedKernels.Tests.Oracles;

/// <summary>Cut cross-entropy with every option by plain loops in double, each result with a bound on what a float
/// computation may differ by. The formulas are those of <see cref="CutCrossEntropy"/>'s remarks.</summary>
internal sealed class CutCrossEntropyOracle
{
    private readonly CutCrossEntropyProblem _problem;
    private readonly Bounded[,] _scores, _logits, _dLogits;
    private readonly double[,] _scoreMagnitudes;

    public CutCrossEntropyOracle(CutCrossEntropyProblem problem)
    {
        _problem = problem;
        _scores = new Bounded[Rows, Classes];
        _scoreMagnitudes = new double[Rows, Classes];
        _logits = new Bounded[Rows, Classes];
        _dLogits = new Bounded[Rows, Classes];
        LogSumExp = new Bounded[Rows];
        TargetLogProbability = new Bounded[Rows];
        Entropy = new Bounded[Rows];
        Losses = new Bounded[Rows];
        for (int row = 0; row < Rows; row++)
            if (!problem.IsIgnored(row)) ComputeRow(row);
        for (int row = 0; row < Rows; row++)
            if (!problem.IsIgnored(row)) ComputeGradient(row);
    }

    public Bounded[] LogSumExp { get; }

    public Bounded[] TargetLogProbability { get; }

    public Bounded[] Entropy { get; }

    public Bounded[] Losses { get; }

    public Bounded Loss => Bounded.Sum(Losses) * Scale;

    private int Rows => _problem.Embeddings.Rows;

    private int Classes => _problem.Classifier.Rows;

    private CutCrossEntropyOptions Options => _problem.Options;

    // What the sum of the losses is multiplied by.
    private Bounded Scale
    {
        get
        {
            if (Options.Reduction != LossReduction.Mean) return 1;
            Bounded[] weights = [.. Enumerable.Range(0, Rows).Where(row => !_problem.IsIgnored(row)).Select(
                row => RowWeight(row) * (Bounded)(_problem.TargetProbabilities is null ? ClassWeight(_problem.Target(row)) : 1))];
            Bounded sum = Bounded.Sum(weights);
            return sum.Value == 0 ? 0 : 1 / sum;
        }
    }

    public Bounded Logit(int row, int v) => _logits[row, v];

    public Bounded LogProbability(int row, int v) => _logits[row, v] - LogSumExp[row];

    public Bounded DEmbedding(int row, int d) =>
        Bounded.Dot(Classes, v => _problem.Classifier[v, d], v => DScore(row, v));

    public Bounded DClassifier(int v, int d) =>
        Bounded.Dot(Rows, row => _problem.IsIgnored(row) ? 0 : _problem.Embeddings[row, d], row => DScore(row, v));

    public Bounded DBias(int v) => Bounded.Dot(Rows, _ => 1, row => DScore(row, v));

    public Bounded DLogitScale()
    {
        Bounded sum = 0;
        double magnitude = 0;
        for (int row = 0; row < Rows; row++)
            for (int v = 0; v < Classes; v++)
            {
                Bounded term = _dLogits[row, v] * _scores[row, v];
                sum = new(sum.Value + term.Value, sum.Error + term.Error);
                magnitude += Math.Abs(_dLogits[row, v].Value) * _scoreMagnitudes[row, v];
            }
        // Kernels may multiply gradients by embeddings instead of recomputing scores: then all the products' terms round.
        return new(sum.Value, sum.Error + Near.Gamma(Rows + Classes + _problem.Embeddings.Columns + 16) * magnitude);
    }

    private Bounded DScore(int row, int v) => _dLogits[row, v] * Options.LogitScale;

    private double RowWeight(int row) => _problem.RowWeights?[row] ?? 1;

    private double ClassWeight(int v) => _problem.ClassWeights?[v] ?? 1;

    private Bounded TargetShare(int row, int v)
    {
        Bounded given = _problem.TargetProbabilities is { } t ? t[row, v] : v == _problem.Target(row) ? 1 : 0;
        double smoothing = Options.LabelSmoothing;
        return smoothing == 0 ? given : (1 - (Bounded)smoothing) * given + (Bounded)smoothing / Classes;
    }

    private void ComputeRow(int row)
    {
        for (int v = 0; v < Classes; v++)
        {
            Bounded score = Bounded.Dot(
                _problem.Embeddings.Columns, d => _problem.Embeddings[row, d], d => _problem.Classifier[v, d]);
            double bias = _problem.Bias?[v] ?? 0;
            _scoreMagnitudes[row, v] = Math.Abs(bias) + Enumerable.Range(0, _problem.Embeddings.Columns)
                .Sum(d => Math.Abs((double)_problem.Embeddings[row, d] * _problem.Classifier[v, d]));
            _scores[row, v] = bias == 0 ? score : score + bias;
            Bounded x = Options.LogitScale == 1 ? _scores[row, v] : _scores[row, v] * Options.LogitScale;
            _logits[row, v] = Options.Softcap == 0 ? x : Options.Softcap * Bounded.Tanh(x / Options.Softcap);
        }
        Bounded[] logits = [.. Enumerable.Range(0, Classes).Select(v => _logits[row, v])];
        Bounded largest = logits.MaxBy(logit => logit.Value).Value; // subtracted and added again, so its error cancels
        Bounded sum = Bounded.Sum([.. logits.Select(logit => Bounded.Exp(logit - largest))]);
        LogSumExp[row] = largest + Bounded.Log(sum);
        Bounded meanLogit = Bounded.Sum([.. logits.Select(logit => Bounded.Exp(logit - LogSumExp[row]) * logit)]);
        Entropy[row] = LogSumExp[row] - meanLogit;
        if (_problem.TargetProbabilities is null) TargetLogProbability[row] = LogProbability(row, _problem.Target(row));
        Losses[row] = RowWeight(row) * (CrossEntropy(row) + Options.ZLoss * (LogSumExp[row] * LogSumExp[row]));
    }

    private Bounded CrossEntropy(int row)
    {
        if (Options.LossShape.Kind != LossShapeKind.CrossEntropy)
            return ClassWeight(_problem.Target(row)) * Shape(row).Loss;
        Bounded[] weights = Weights(row);
        Bounded logits = Bounded.Sum([.. weights.Select((weight, v) => weight * _logits[row, v])]);
        return Bounded.Sum(weights) * LogSumExp[row] - logits;
    }

    private Bounded[] Weights(int row) =>
        [.. Enumerable.Range(0, Classes).Select(v => ClassWeight(v) * TargetShare(row, v))];

    // The shape of a row's loss l, and its derivative.
    private (Bounded Loss, Bounded Derivative) Shape(int row)
    {
        Bounded p = Bounded.Exp(TargetLogProbability[row]), l = 0 - TargetLogProbability[row];
        double a = Options.LossShape.Parameter;
        return Options.LossShape.Kind switch
        {
            LossShapeKind.CrossEntropy => (l, 1),
            LossShapeKind.Focal =>
                (Bounded.Pow(1 - p, a) * l, Bounded.Pow(1 - p, a) + a * (Bounded.Pow(1 - p, a - 1) * (p * l))),
            LossShapeKind.Poly1 => (l + a * (1 - p), 1 + a * p),
            LossShapeKind.Generalised => a == 0 ? (l, 1) : ((1 - Bounded.Pow(p, a)) / a, Bounded.Pow(p, a)),
            LossShapeKind.TokenScaled => (p * l, p),
            _ => throw new InvalidOperationException($"{Options.LossShape}"),
        };
    }

    private void ComputeGradient(int row)
    {
        Bounded gradLoss = Options.Reduction == LossReduction.None
            ? _problem.GradLosses?[row] ?? 1 : (_problem.GradLoss ?? 1) * Scale;
        gradLoss *= RowWeight(row);
        double gradLogSumExp = _problem.GradLogSumExp?[row] ?? 0, gradEntropy = _problem.GradEntropy?[row] ?? 0;
        Bounded[] weights = Weights(row);
        Bounded allWeights = Bounded.Sum(weights);
        Bounded derivative = Options.LossShape.Kind == LossShapeKind.CrossEntropy ? 1 : Shape(row).Derivative;
        for (int v = 0; v < Classes; v++)
        {
            Bounded logP = LogProbability(row, v), p = Bounded.Exp(logP);
            Bounded gradient = gradLoss * (derivative * (allWeights * p - weights[v]));
            if (Options.ZLoss != 0) gradient += gradLoss * (2 * (Options.ZLoss * (LogSumExp[row] * p)));
            if (gradLogSumExp != 0) gradient += gradLogSumExp * p;
            if (gradEntropy != 0) gradient -= gradEntropy * (p * (logP + Entropy[row]));
            _dLogits[row, v] = Options.Softcap == 0 ? gradient : gradient * SoftcapSlope(row, v);
        }
    }

    private Bounded SoftcapSlope(int row, int v)
    {
        Bounded t = _logits[row, v] / Options.Softcap;
        return 1 - t * t;
    }
}
