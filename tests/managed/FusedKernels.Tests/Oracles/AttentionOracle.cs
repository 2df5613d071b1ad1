namespace FusedKernels.Tests.Oracles;

/// <summary>Attention of one batch entry and head by plain loops in double, with bounds for a float computation.</summary>
internal sealed class AttentionOracle
{
    private const double FunctionError = 16 * Near.Unit;

    private readonly TestTensor _q, _k, _v;
    private readonly int _batch, _head;
    private readonly double _scale;
    private readonly double[,] _probabilities;
    private readonly double[] _probabilityError;

    public AttentionOracle(TestTensor q, TestTensor k, TestTensor v, AttentionOptions options, int batch, int head)
    {
        (_q, _k, _v, _batch, _head) = (q, k, v, batch, head);
        _scale = options.Scale ?? 1 / Math.Sqrt(q.Dim);
        _probabilities = new double[Queries, Keys];
        _probabilityError = new double[Queries];
        LogSumExp = new double[Queries];
        LogSumExpBound = new double[Queries];
        for (int query = 0; query < Queries; query++)
            ComputeRow(query, options.IsCausal ? Math.Clamp(query + Keys - Queries + 1, 0, Keys) : Keys);
    }

    public double[] LogSumExp { get; }

    public double[] LogSumExpBound { get; }

    private int Queries => _q.Sequence;

    private int Keys => _k.Sequence;

    public (double Expected, double Bound) Output(int query, int d)
    {
        Value sum = default;
        for (int key = 0; key < Keys; key++) sum += Value.Term(_probabilities[query, key] * _v[_batch, key, _head, d]);
        return (sum.Sum, (_probabilityError[query] + Near.Gamma(2 * Keys)) * sum.Magnitude);
    }

    /// <summary>All three gradients; [query or key, dim].</summary>
    public (Value[,] DQ, Value[,] DK, Value[,] DV) Gradients(TestTensor dOutput)
    {
        Value[,] dQ = new Value[Queries, _q.Dim], dK = new Value[Keys, _q.Dim], dV = new Value[Keys, _v.Dim];
        for (int query = 0; query < Queries; query++)
        {
            Value rowSum = default; // sum over d of dOutput * output
            for (int d = 0; d < _v.Dim; d++)
            {
                double magnitude = 0;
                for (int key = 0; key < Keys; key++)
                    magnitude += _probabilities[query, key] * Math.Abs(_v[_batch, key, _head, d]);
                double gradient = dOutput[_batch, query, _head, d];
                rowSum += new Value(gradient * Output(query, d).Expected, Math.Abs(gradient) * magnitude);
            }
            for (int key = 0; key < Keys; key++)
            {
                double p = _probabilities[query, key];
                Value dP = default;
                for (int d = 0; d < _v.Dim; d++)
                {
                    double gradient = dOutput[_batch, query, _head, d];
                    dP += Value.Term(gradient * _v[_batch, key, _head, d]);
                    dV[key, d] += Value.Term(p * gradient);
                }
                Value dScore = new(p * (dP.Sum - rowSum.Sum) * _scale, p * (dP.Magnitude + rowSum.Magnitude) * Math.Abs(_scale));
                for (int d = 0; d < _q.Dim; d++)
                {
                    double kElement = _k[_batch, key, _head, d], qElement = _q[_batch, query, _head, d];
                    dQ[query, d] += new Value(dScore.Sum * kElement, dScore.Magnitude * Math.Abs(kElement));
                    dK[key, d] += new Value(dScore.Sum * qElement, dScore.Magnitude * Math.Abs(qElement));
                }
            }
        }
        return (dQ, dK, dV);
    }

    /// <summary>
    /// The relative error of a gradient, over the sum of its terms' magnitudes: that of a probability (twice: once in the
    /// score's gradient, once in the saved output), of the dot products, and of the final sum.
    /// </summary>
    public double GradientError() =>
        Queries == 0 ? 0 : 2 * _probabilityError.Max() + Near.Gamma(2 * Keys) + Near.Gamma(_v.Dim) + Near.Gamma(Queries + Keys + 8);

    private void ComputeRow(int query, int visible)
    {
        double[] scores = new double[visible];
        double magnitude = 0;
        for (int key = 0; key < visible; key++)
        {
            Value score = default;
            for (int d = 0; d < _q.Dim; d++)
                score += Value.Term((double)_q[_batch, query, _head, d] * _k[_batch, key, _head, d]);
            scores[key] = _scale * score.Sum;
            magnitude = Math.Max(magnitude, Math.Abs(_scale) * score.Magnitude);
        }
        if (visible == 0)
        {
            LogSumExp[query] = double.NegativeInfinity;
            return;
        }
        double largest = scores.Max(), sum = scores.Sum(score => Math.Exp(score - largest));
        LogSumExp[query] = largest + Math.Log(sum);
        for (int key = 0; key < visible; key++) _probabilities[query, key] = Math.Exp(scores[key] - LogSumExp[query]);

        // The dot product, the scale (itself rounded), and differences of scores.
        double scoreError = Near.Gamma(_q.Dim + 8) * magnitude;
        LogSumExpBound[query] = scoreError + Near.Gamma(Keys) + FunctionError;
        _probabilityError[query] = LogSumExpBound[query] + scoreError + FunctionError;
    }
}
