namespace FusedKernels.Tests.Oracles;

/// <summary>
/// Attention by plain loops in double, with bounds on what a float computation may differ by. The formulas are those of
/// <see cref="Attention"/>'s remarks; rows that no sequence has are as the constructor leaves them.
/// </summary>
internal sealed class AttentionOracle
{
    private readonly AttentionProblem _problem;

    /// <summary>Lengths and the places of the first query and key along their axes.</summary>
    public sealed record Sequence(int Index, int Batch, int FirstQuery, int Queries, int FirstKey, int Keys);

    // A key that a query sees. Slope: of the score by the product of query and key. Factor: behind the softmax.
    private sealed record Pair(int Key, Bounded Score, Bounded Slope, Bounded Factor);

    public AttentionOracle(AttentionProblem problem)
    {
        _problem = problem;
        Output = new Bounded[problem.Q.Batch, problem.Q.Sequence, problem.Q.Heads, problem.V.Dim];
        LogSumExp = new Bounded[problem.Q.Batch, problem.Q.Heads, problem.Q.Sequence];
        MaxScore = new Bounded[problem.Q.Batch, problem.Q.Heads, problem.Q.Sequence];
        Entropy = new Bounded[problem.Q.Batch, problem.Q.Heads, problem.Q.Sequence];
        KeyWeights = new BoundedSum[problem.Q.Batch, problem.Q.Heads, problem.K.Sequence];
        for (int b = 0; b < problem.Q.Batch; b++)
            for (int h = 0; h < problem.Q.Heads; h++)
                for (int query = 0; query < problem.Q.Sequence; query++)
                    LogSumExp[b, h, query] = MaxScore[b, h, query] = double.NegativeInfinity;
        foreach ((Sequence sequence, int head, int query) in Rows()) ComputeRow(sequence, head, query);
    }

    public Bounded[,,,] Output { get; }

    public Bounded[,,] LogSumExp { get; }

    public Bounded[,,] MaxScore { get; }

    public Bounded[,,] Entropy { get; }

    public BoundedSum[,,] KeyWeights { get; }

    private AttentionOptions Options => _problem.Options;

    public IEnumerable<(Sequence Sequence, int Head, int Query)> Rows() =>
        from sequence in _problem.Sequences()
        from head in Enumerable.Range(0, _problem.Q.Heads)
        from query in Enumerable.Range(0, sequence.Queries)
        select (sequence, head, query);

    /// <summary>The gradients, from the output and the log-sum-exp that the forward pass wrote.</summary>
    public AttentionGradients Gradients()
    {
        AttentionGradients gradients = new(_problem);
        BoundedSum[,,,] dK = new BoundedSum[_problem.K.Batch, _problem.K.Sequence, _problem.K.Heads, _problem.K.Dim];
        foreach ((Sequence sequence, int head, int query) in Rows()) AddGradients(gradients, dK, sequence, head, query);
        foreach (Sequence sequence in _problem.Sequences())
            for (int head = 0; head < _problem.K.Heads; head++)
                for (int key = 0; key < sequence.Keys; key++)
                {
                    (int b, int s) = (sequence.Batch, sequence.FirstKey + key);
                    Bounded[] rotated = [.. Enumerable.Range(0, _problem.K.Dim).Select(d => dK[b, s, head, d].Total)];
                    Bounded[] own = Rotate(rotated, -(key + Options.RotaryKeyOffset));
                    for (int d = 0; d < own.Length; d++) gradients.DK[b, s, head, d] = own[d];
                }
        return gradients;
    }

    private void ComputeRow(Sequence sequence, int head, int query)
    {
        (int b, int row) = (sequence.Batch, sequence.FirstQuery + query);
        List<Pair> pairs = Visible(sequence, head, query);
        List<Bounded> scores = [.. pairs.Select(pair => pair.Score)];
        if (_problem.Sinks is { } sinks) scores.Add(sinks.Elements[head]);
        if (scores.Count == 0) return;
        Bounded largest = scores.MaxBy(score => score.Value);
        MaxScore[b, head, row] = largest;
        LogSumExp[b, head, row] = largest + Bounded.Log(Bounded.Sum([.. scores.Select(score => Bounded.Exp(score - largest))]));

        Bounded[] p = [.. pairs.Select(pair => Bounded.Exp(pair.Score - LogSumExp[b, head, row]))];
        Entropy[b, head, row] = Bounded.Sum(
            [.. pairs.Select((pair, i) => p[i] * (LogSumExp[b, head, row] - pair.Score))]);
        for (int i = 0; i < p.Length; i++) KeyWeights[b, head, sequence.FirstKey + pairs[i].Key].Add(p[i]);
        for (int d = 0; d < _problem.V.Dim; d++)
            Output[b, row, head, d] = Bounded.Sum(
                [.. pairs.Select((pair, i) => p[i] * pair.Factor * Value(sequence, head, pair.Key, d))]);
    }

    // dK sums up the gradients of the rotated keys.
    private void AddGradients(
        AttentionGradients gradients, BoundedSum[,,,] dK, Sequence sequence, int head, int query)
    {
        (int b, int row, int kvHead) = (sequence.Batch, sequence.FirstQuery + query, KvHead(head));
        TestTensor dOutput = _problem.DOutput;
        double logSumExp = _problem.LogSumExp[b, head, row];
        double dLogSumExp = _problem.DLogSumExp?[b, head, row] ?? 0;
        Bounded rowSum = Bounded.Dot(
            dOutput.Dim, d => dOutput[b, row, head, d], d => (Bounded)_problem.Output[b, row, head, d]);
        if (_problem.Sinks is { } sinks)
            gradients.Of(sinks)[head].Add(
                Bounded.Exp((Bounded)sinks.Elements[head] - logSumExp) * ((Bounded)dLogSumExp - rowSum));
        List<Pair> pairs = Visible(sequence, head, query);
        Bounded[] q = Query(sequence, head, query), dQ = new Bounded[q.Length];
        BoundedSum[] dQSums = new BoundedSum[q.Length];
        foreach (Pair pair in pairs)
        {
            int column = sequence.FirstKey + pair.Key;
            Bounded p = Bounded.Exp(pair.Score - logSumExp);
            Bounded dWeight = Bounded.Dot(
                dOutput.Dim, d => dOutput[b, row, head, d], d => Value(sequence, head, pair.Key, d));
            Bounded dScore = p * (pair.Factor * dWeight - rowSum + dLogSumExp);
            Bounded dProduct = dScore * pair.Slope;
            Bounded[] k = Key(sequence, head, pair.Key);
            for (int d = 0; d < q.Length; d++)
            {
                dQSums[d].Add(dProduct * k[d]);
                dK[b, column, kvHead, d].Add(dProduct * q[d]);
            }
            for (int d = 0; d < dOutput.Dim; d++)
                gradients.DV[b, column, kvHead, d].Add(p * pair.Factor * dOutput[b, row, head, d]);
            foreach ((TestArray array, int element, double factor) in Terms(sequence, head, query, pair.Key))
                gradients.Of(array)[element].Add(factor * dScore);
            if (_problem.ToeplitzFactor is { } toeplitz)
                gradients.Of(toeplitz)[toeplitz.IndexOf(head, Diagonal(query, pair.Key))].Add(
                    p * Dropout(sequence, head, query, pair.Key) * dWeight);
        }
        for (int d = 0; d < q.Length; d++) dQ[d] = dQSums[d].Total;
        dQ = Rotate(dQ, -(QueryPosition(sequence, query) + Options.RotaryQueryOffset));
        for (int d = 0; d < q.Length; d++) gradients.DQ[b, row, head, d] = dQ[d];
    }

    private List<Pair> Visible(Sequence sequence, int head, int query)
    {
        List<Pair> pairs = [];
        int inRange = Enumerable.Range(0, sequence.Keys).Count(key => IsInRange(sequence, query, key));
        Bounded[] q = Query(sequence, head, query);
        for (int key = 0; key < sequence.Keys; key++)
        {
            if (!IsInRange(sequence, query, key) || IsMasked(sequence, head, query, key)) continue;
            Bounded[] k = Key(sequence, head, key);
            Bounded factor = Options.Scale ?? 1 / (Bounded)Math.Sqrt(_problem.Q.Dim);
            if (Options.LengthScaleBase > 1)
                factor *= Bounded.Log(inRange) / Bounded.Log(Options.LengthScaleBase);
            Bounded score = factor * Bounded.Sum([.. q.Select((element, d) => element * k[d])]), slope = factor;
            if (Options.Softcap > 0)
            {
                Bounded tanh = Bounded.Tanh(score / Options.Softcap);
                (score, slope) = (Options.Softcap * tanh, factor * (1 - tanh * tanh));
            }
            foreach ((TestArray array, int element, double termFactor) in Terms(sequence, head, query, key))
                score += termFactor * (Bounded)array.Elements[element];
            Bounded weightFactor = Dropout(sequence, head, query, key);
            if (_problem.ToeplitzFactor is { } toeplitz)
                weightFactor *= toeplitz.Elements[toeplitz.IndexOf(head, Diagonal(query, key))];
            pairs.Add(new(key, score, slope, weightFactor));
        }
        return pairs;
    }

    private bool IsInRange(Sequence sequence, int query, int key)
    {
        if (_problem.PrefixLengths is { } prefixes && key < prefixes[sequence.Index]) return true;
        int ahead = key - QueryPosition(sequence, query);
        return (!Options.IsCausal || ahead <= 0) && -ahead <= (Options.WindowLeft ?? long.MaxValue)
            && ahead <= (Options.WindowRight ?? long.MaxValue);
    }

    private bool IsMasked(Sequence sequence, int head, int query, int key)
    {
        (int b, int row, int column) = (sequence.Batch, sequence.FirstQuery + query, sequence.FirstKey + key);
        return _problem.QuerySegments is { } segments && segments[b, row] != _problem.KeySegments![b, column]
            || IsHidden(_problem.Mask, b, head, row, column)
            || IsHidden(
                _problem.BlockMask, b, head, (int)(row / Options.MaskBlockRows), (int)(column / Options.MaskBlockColumns));
    }

    private static bool IsHidden(bool[,,,]? mask, int b, int head, int row, int column) => mask is not null
        && !mask[Math.Min(b, mask.GetLength(0) - 1), Math.Min(head, mask.GetLength(1) - 1),
            Math.Min(row, mask.GetLength(2) - 1), column];

    // What is added to a score: an element of an array, times a number.
    private IEnumerable<(TestArray Array, int Element, double Factor)> Terms(Sequence sequence, int head, int query, int key)
    {
        (int b, int row, int column) = (sequence.Batch, sequence.FirstQuery + query, sequence.FirstKey + key);
        int behind = QueryPosition(sequence, query) - key;
        if (_problem.Bias is { } bias) yield return (bias, bias.IndexOf(b, head, row, column), 1);
        if (_problem.KeyBias is { } keyBias) yield return (keyBias, keyBias.IndexOf(b, head, column), 1);
        if (_problem.AlibiSlopes is { } slopes) yield return (slopes, slopes.IndexOf(b, head), -Math.Abs(behind));
        if (_problem.RelativeBias is { } relative) yield return (relative, relative.IndexOf(Bucket(behind), head), 1);
        if (_problem.AxialBiasX is { } x) yield return (x, x.IndexOf(b, head, row, column % x.Length(^1)), 1);
        if (_problem.AxialBiasY is { } y)
            yield return (y, y.IndexOf(b, head, row, column / (_problem.K.Sequence / y.Length(^1))), 1);
    }

    private int Bucket(int behind)
    {
        int buckets = _problem.RelativeBias!.Length(0), first = 0;
        if (Options.IsRelativeBiasOneSided)
            behind = Math.Max(0, behind);
        else
        {
            buckets /= 2;
            if (behind < 0) first = buckets;
            behind = Math.Abs(behind);
        }
        int exact = Math.Max(1, buckets / 2);
        if (behind < exact) return first + behind;
        double far = Math.Log((double)behind / exact) / Math.Log((double)Options.RelativeMaxDistance / exact);
        return first + Math.Min(buckets - 1, exact + (int)(far * (buckets - exact)));
    }

    private Bounded Dropout(Sequence sequence, int head, int query, int key)
    {
        if (Options.Dropout == 0) return 1;
        (int row, int column) = (sequence.FirstQuery + query, sequence.FirstKey + key);
        uint word = Philox.Word(
            Options.DropoutSeed, (uint)(column / 4), (uint)row, (uint)head, (uint)sequence.Batch, column % 4);
        return word >= Math.Floor(Options.Dropout * 4294967296.0) ? 1 / ((Bounded)1 - Options.Dropout) : 0;
    }

    private Bounded[] Query(Sequence sequence, int head, int query) => Rotate(
        Elements(_problem.Q, sequence.Batch, sequence.FirstQuery + query, head),
        QueryPosition(sequence, query) + Options.RotaryQueryOffset);

    private Bounded[] Key(Sequence sequence, int head, int key) => Rotate(
        Elements(_problem.K, sequence.Batch, sequence.FirstKey + key, KvHead(head)), key + Options.RotaryKeyOffset);

    private Bounded Value(Sequence sequence, int head, int key, int d) =>
        _problem.V[sequence.Batch, sequence.FirstKey + key, KvHead(head), d];

    private static Bounded[] Elements(TestTensor tensor, int b, int s, int head) =>
        [.. Enumerable.Range(0, tensor.Dim).Select(d => (Bounded)tensor[b, s, head, d])];

    private Bounded[] Rotate(Bounded[] x, long position)
    {
        Bounded[] y = [.. x];
        int half = Options.RotaryDims / 2;
        for (int pair = 0; pair < half; pair++)
        {
            (int first, int second) = Options.RotaryInterleaved ? (2 * pair, 2 * pair + 1) : (pair, pair + half);
            double angle = position * Math.Pow(Options.RotaryBase, -(double)pair / half);
            // In double, rounded once.
            Bounded cos = new(Math.Cos(angle), Near.Unit), sin = new(Math.Sin(angle), Near.Unit);
            y[first] = x[first] * cos - x[second] * sin;
            y[second] = x[first] * sin + x[second] * cos;
        }
        return y;
    }

    private int QueryPosition(Sequence sequence, int query) =>
        Options.Alignment == AttentionAlignment.TopLeft ? query : query + sequence.Keys - sequence.Queries;

    private int Diagonal(int query, int key) => key - query + _problem.Q.Sequence - 1;

    private int KvHead(int head) => head / (_problem.Q.Heads / _problem.K.Heads);
}
