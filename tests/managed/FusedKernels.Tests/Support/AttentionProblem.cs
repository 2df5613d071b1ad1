using System.Numerics.Tensors;
using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests.Support;

/// <summary>
/// Random arguments of attention, the arrays that it writes, and their comparison with the oracle. What is not set is not
/// passed.
/// </summary>
internal sealed class AttentionProblem
{
    private readonly ElementType _type, _kvType;

    public AttentionProblem(
        int batch, int queries, int keys, int heads, int kvHeads, int dim, int valueDim,
        TensorLayout layout = TensorLayout.Contiguous, ElementType type = ElementType.Float, ElementType? kvType = null)
    {
        (_type, _kvType) = (type, kvType ?? type);
        Q = TestTensor.Random(batch, queries, heads, dim, 1, layout, scale: 2).RoundTo(type);
        K = TestTensor.Random(batch, keys, kvHeads, dim, 2, layout, scale: 2).RoundTo(_kvType);
        V = TestTensor.Random(batch, keys, kvHeads, valueDim, 3, layout).RoundTo(_kvType);
        DOutput = TestTensor.Random(batch, queries, heads, valueDim, 4, layout).RoundTo(type);
        (Output, DQ) = (new(batch, queries, heads, valueDim, layout), new(batch, queries, heads, dim, layout));
        (DK, DV) = (new(batch, keys, kvHeads, dim, layout), new(batch, keys, kvHeads, valueDim, layout));
        LogSumExp = new float[batch, heads, queries];
        MaxScore = new float[batch, heads, queries];
        Entropy = new float[batch, heads, queries];
        KeyWeights = new float[batch, heads, keys];
    }

    public TestTensor Q { get; }

    public TestTensor K { get; }

    public TestTensor V { get; }

    public TestTensor DOutput { get; }

    public AttentionOptions Options { get; init; }

    public int[]? QueryLengths { get; init; }

    public int[]? KeyLengths { get; init; }

    public int[]? PrefixLengths { get; init; }

    public int[]? QueryStarts { get; init; }

    public int[]? KeyStarts { get; init; }

    public int[,]? QuerySegments { get; init; }

    public int[,]? KeySegments { get; init; }

    public bool[,,,]? Mask { get; init; }

    public bool[,,,]? BlockMask { get; init; }

    public TestArray? Bias { get; init; }

    public TestArray? KeyBias { get; init; }

    public TestArray? AlibiSlopes { get; init; }

    public TestArray? RelativeBias { get; init; }

    public TestArray? AxialBiasX { get; init; }

    public TestArray? AxialBiasY { get; init; }

    public TestArray? Sinks { get; init; }

    public TestArray? ToeplitzFactor { get; init; }

    public float[,,]? DLogSumExp { get; init; }

    public TestTensor Output { get; }

    public float[,,] LogSumExp { get; }

    public float[,,] MaxScore { get; }

    public float[,,] Entropy { get; }

    public float[,,] KeyWeights { get; }

    public TestTensor DQ { get; }

    public TestTensor DK { get; }

    public TestTensor DV { get; }

    private IEnumerable<(string Name, TestArray? Array)> Parameters =>
    [
        (nameof(Bias), Bias), (nameof(KeyBias), KeyBias), (nameof(AlibiSlopes), AlibiSlopes),
        (nameof(RelativeBias), RelativeBias), (nameof(AxialBiasX), AxialBiasX), (nameof(AxialBiasY), AxialBiasY),
        (nameof(Sinks), Sinks), (nameof(ToeplitzFactor), ToeplitzFactor),
    ];

    public IEnumerable<AttentionOracle.Sequence> Sequences()
    {
        int count = QueryStarts is null ? Q.Batch : QueryStarts.Length - 1;
        for (int n = 0; n < count; n++)
        {
            (int query, int key) = (QueryStarts?[n] ?? 0, KeyStarts?[n] ?? 0);
            int queries = QueryLengths?[n] ?? (QueryStarts is null ? Q.Sequence : QueryStarts[n + 1] - query);
            int keys = KeyLengths?[n] ?? (KeyStarts is null ? K.Sequence : KeyStarts[n + 1] - key);
            yield return new(n, QueryStarts is null ? n : 0, query, queries, key, keys);
        }
    }

    /// <summary>All inputs but queries, keys and values, which may need another element type.</summary>
    public AttentionTensors OptionalInputs()
    {
        AttentionTensors tensors = new()
        {
            QueryLengths = QueryLengths, KeyLengths = KeyLengths, PrefixLengths = PrefixLengths, QueryStarts = QueryStarts,
            KeyStarts = KeyStarts, QuerySegments = new(QuerySegments), KeySegments = new(KeySegments),
            Mask = new ReadOnlyTensorSpan<bool>(Mask), BlockMask = new ReadOnlyTensorSpan<bool>(BlockMask),
            Sinks = Sinks?.Elements,
        };
        if (Bias is not null) tensors.Bias = Bias.Span;
        if (KeyBias is not null) tensors.KeyBias = KeyBias.Span;
        if (AlibiSlopes is not null) tensors.AlibiSlopes = AlibiSlopes.Span;
        if (RelativeBias is not null) tensors.RelativeBias = RelativeBias.Span;
        if (AxialBiasX is not null) tensors.AxialBiasX = AxialBiasX.Span;
        if (AxialBiasY is not null) tensors.AxialBiasY = AxialBiasY.Span;
        if (ToeplitzFactor is not null) tensors.ToeplitzFactor = ToeplitzFactor.Span;
        return tensors;
    }

    public void Forward(FusedContext context)
    {
        StoredHeads q = new(Q, _type), k = new(K, _kvType), v = new(V, _kvType), output = new(Output, _type);
        AttentionTensors tensors = OptionalInputs();
        tensors.Q = q.Heads;
        tensors.K = k.Heads;
        tensors.V = v.Heads;
        tensors.Output = output.Heads;
        tensors.LogSumExp = new(LogSumExp);
        tensors.MaxScore = new(MaxScore);
        tensors.Entropy = new(Entropy);
        tensors.KeyWeights = new(KeyWeights);
        Attention.Forward(context, tensors, Options);
        output.CopyBack();
    }

    public void Backward(FusedContext context)
    {
        StoredHeads q = new(Q, _type), k = new(K, _kvType), v = new(V, _kvType), output = new(Output, _type);
        StoredHeads dOutput = new(DOutput, _type), dQ = new(DQ, _type), dK = new(DK, _kvType), dV = new(DV, _kvType);
        AttentionTensors tensors = OptionalInputs();
        tensors.Q = q.Heads;
        tensors.K = k.Heads;
        tensors.V = v.Heads;
        tensors.Output = output.Heads;
        tensors.LogSumExp = new(LogSumExp);
        tensors.DOutput = dOutput.Heads;
        tensors.DLogSumExp = new(DLogSumExp);
        tensors.DQ = dQ.Heads;
        tensors.DK = dK.Heads;
        tensors.DV = dV.Heads;
        if (Bias is not null) tensors.DBias = Bias.GradientSpan;
        if (KeyBias is not null) tensors.DKeyBias = KeyBias.GradientSpan;
        if (AlibiSlopes is not null) tensors.DAlibiSlopes = AlibiSlopes.GradientSpan;
        if (RelativeBias is not null) tensors.DRelativeBias = RelativeBias.GradientSpan;
        if (AxialBiasX is not null) tensors.DAxialBiasX = AxialBiasX.GradientSpan;
        if (AxialBiasY is not null) tensors.DAxialBiasY = AxialBiasY.GradientSpan;
        if (Sinks is not null) tensors.DSinks = Sinks.Gradient;
        if (ToeplitzFactor is not null) tensors.DToeplitzFactor = ToeplitzFactor.GradientSpan;
        Attention.Backward(context, tensors, Options);
        foreach (StoredHeads gradient in (StoredHeads[])[dQ, dK, dV]) gradient.CopyBack();
    }

    /// <summary>Runs both passes and compares all that they write with the oracle.</summary>
    public void RunAndCompare(FusedContext context)
    {
        Forward(context);
        AttentionOracle oracle = new(this);
        AssertOutput(oracle);
        AssertRows(MaxScore, oracle.MaxScore, "maxScore");
        AssertRows(Entropy, oracle.Entropy, "entropy");
        for (int b = 0; b < K.Batch; b++)
            for (int h = 0; h < Q.Heads; h++)
                for (int key = 0; key < K.Sequence; key++)
                    oracle.KeyWeights[b, h, key].Total.AssertNear(
                        KeyWeights[b, h, key], $"keyWeights[{b}, {h}, {key}] of {this}");

        Backward(context);
        AttentionGradients gradients = oracle.Gradients();
        AssertHeads(DQ, _type, "dQ", (b, s, h, d) => gradients.DQ[b, s, h, d]);
        AssertHeads(DV, _kvType, "dV", (b, s, h, d) => gradients.DV[b, s, h, d].Total);
        AssertHeads(DK, _kvType, "dK", (b, s, h, d) => gradients.DK[b, s, h, d]);
        foreach ((string name, TestArray? array) in Parameters)
            for (int i = 0; i < array?.Elements.Length; i++)
                gradients.Of(array)[i].Total.AssertNear(array.Gradient[i], $"d{name}[{i}] of {this}");
    }

    /// <summary>Compares output and log-sum-exp with the oracle.</summary>
    public void AssertOutput(AttentionOracle oracle)
    {
        AssertHeads(Output, _type, "output", (b, s, h, d) => oracle.Output[b, s, h, d]);
        AssertRows(LogSumExp, oracle.LogSumExp, "logSumExp");
    }

    private void AssertHeads(TestTensor actual, ElementType type, string name, Func<int, int, int, int, Bounded> expected)
    {
        actual.AssertGapsUntouched($"{name} of {this}");
        // Half of the gap between neighbours of a type, relative to its numbers and absolute below them.
        (double unit, double smallest) = type switch
        {
            ElementType.BFloat16 => (1.0 / (1 << 8), 0.0),
            ElementType.Half => (1.0 / (1 << 11), 1.0 / (1 << 25)),
            _ => (Near.Unit, 0.0),
        };
        foreach ((int b, int s, int h, int d) in actual.Indices())
        {
            Bounded oracle = expected(b, s, h, d);
            double rounding = unit * (Math.Abs(oracle.Value) + oracle.Error) + smallest + 1.2e-38;
            Near.AssertNear(
                oracle.Value, actual[b, s, h, d], oracle.Error + rounding, $"{name}[{b}, {s}, {h}, {d}] of {this}");
        }
    }

    private void AssertRows(float[,,] actual, Bounded[,,] expected, string name)
    {
        for (int b = 0; b < Q.Batch; b++)
            for (int h = 0; h < Q.Heads; h++)
                for (int s = 0; s < Q.Sequence; s++)
                {
                    string what = $"{name}[{b}, {h}, {s}] of {this}";
                    if (double.IsInfinity(expected[b, h, s].Value))
                        Assert.AreEqual((float)expected[b, h, s].Value, actual[b, h, s], what);
                    else
                        expected[b, h, s].AssertNear(actual[b, h, s], what);
                }
    }

    public override string ToString() =>
        $"B {Q.Batch}, Sq {Q.Sequence}, Sk {K.Sequence}, H {Q.Heads}, G {K.Heads}, D {Q.Dim}, Dv {V.Dim}, " +
        $"{_type} on {_kvType}, {Options}";
}
