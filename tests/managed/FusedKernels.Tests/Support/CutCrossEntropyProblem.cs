using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests.Support;

/// <summary>
/// Random arguments of a cut cross-entropy, the arrays that it writes, and their comparison with the oracle. Every fifth row
/// is ignored. What is not set is not passed.
/// </summary>
internal sealed class CutCrossEntropyProblem
{
    private readonly ElementType _embeddingsType, _classifierType;

    public CutCrossEntropyProblem(
        int rows, int classes, int dims, ElementType embeddingsType = ElementType.Float,
        ElementType classifierType = ElementType.Float)
        : this(
            TestMatrix.Random(rows, dims, seed: 1, scale: 2), TestMatrix.Random(classes, dims, seed: 2), embeddingsType,
            classifierType)
    {
    }

    public CutCrossEntropyProblem(
        TestMatrix embeddings, TestMatrix classifier, ElementType embeddingsType = ElementType.Float,
        ElementType classifierType = ElementType.Float)
    {
        (_embeddingsType, _classifierType) = (embeddingsType, classifierType);
        Embeddings = embeddings.RoundTo(embeddingsType);
        Classifier = classifier.RoundTo(classifierType);
        (int rows, int classes, int dims) = (embeddings.Rows, classifier.Rows, embeddings.Columns);
        Random random = new(3);
        Targets = [.. Enumerable.Range(0, rows).Select(row => row % 5 == 4 ? -100 : random.Next(classes))];
        (DEmbeddings, DClassifier) = (new TestMatrix(rows, dims), new TestMatrix(classes, dims));
        (LogSumExp, TargetLogProbability, Entropy, Losses) =
            (new float[rows], new float[rows], new float[rows], new float[rows]);
    }

    public TestMatrix Embeddings { get; }

    public TestMatrix Classifier { get; }

    public int[] Targets { get; init; }

    /// <summary>Passes the targets as 64-bit indices.</summary>
    public bool LongTargets { get; init; }

    public TestMatrix? TargetProbabilities { get; init; }

    public int SequenceLength { get; init; }

    public float[]? Bias { get; init; }

    public float[]? ClassWeights { get; init; }

    public float[]? RowWeights { get; init; }

    public float? GradLoss { get; init; }

    public float[]? GradLosses { get; init; }

    public float[]? GradLogSumExp { get; init; }

    public float[]? GradEntropy { get; init; }

    public CutCrossEntropyOptions Options { get; set; }

    public TestMatrix DEmbeddings { get; }

    public TestMatrix DClassifier { get; }

    public float[] LogSumExp { get; }

    public float[] TargetLogProbability { get; }

    public float[] Entropy { get; }

    public float[] Losses { get; }

    public float[] DBias => field ??= new float[Classifier.Rows];

    public int Rows => Embeddings.Rows;

    public static IEnumerable<CutCrossEntropyProblem> OfAllSizes(CutCrossEntropyOptions options = default) =>
        Sizes.Triples().Select(size => new CutCrossEntropyProblem(size.M, size.N, size.K) { Options = options });

    /// <summary>Positive numbers around 1.</summary>
    public static float[] Weights(int count) => [.. Enumerable.Range(0, count).Select(i => 0.5f + 0.25f * (i % 5))];

    /// <summary>Numbers of both signs.</summary>
    public static float[] Gradients(int count) => [.. Enumerable.Range(0, count).Select(i => 0.5f * (i % 4) - 0.7f)];

    public bool IsIgnored(int row) =>
        ShiftedRow(row) is not { } shifted || TargetProbabilities is null && Targets[shifted] == Options.IgnoreIndex;

    public int Target(int row) => Targets[ShiftedRow(row)!.Value];

    /// <summary>The inputs; outputs are for the caller to add.</summary>
    public CutCrossEntropyTensors Inputs() => new()
    {
        Embeddings = Embeddings.As(_embeddingsType),
        Classifier = Classifier.As(_classifierType),
        Targets = TargetProbabilities is not null ? default
            : LongTargets ? Array.ConvertAll(Targets, target => (long)target) : Targets,
        TargetProbabilities = TargetProbabilities is null ? default : TargetProbabilities.Span,
        SequenceLength = SequenceLength,
        Bias = Bias,
        ClassWeights = ClassWeights,
        RowWeights = RowWeights,
    };

    public CutCrossEntropyResult Forward(FusedContext context) =>
        CutCrossEntropy.Forward(context, AddForwardOutputs(Inputs()), Options);

    public CutCrossEntropyResult Backward(FusedContext context)
    {
        CutCrossEntropyTensors tensors = AddGradients(Inputs());
        tensors.LogSumExp = LogSumExp;
        if (GradEntropy is not null) tensors.Entropy = Entropy;
        if (Options.LossShape.Kind != LossShapeKind.CrossEntropy) tensors.TargetLogProbability = TargetLogProbability;
        return CutCrossEntropy.Backward(context, tensors, Options);
    }

    public CutCrossEntropyResult LossAndGradient(FusedContext context) =>
        CutCrossEntropy.LossAndGradient(context, AddGradients(AddForwardOutputs(Inputs())), Options);

    public void AssertForward(CutCrossEntropyResult result, CutCrossEntropyOracle oracle)
    {
        if (Options.Reduction == LossReduction.None)
        {
            Assert.IsTrue(float.IsNaN(result.Loss), "there is no one loss");
            AssertRows(Losses, oracle.Losses, "losses");
        }
        else
            oracle.Loss.AssertNear(result.Loss, $"loss of {this}");
        AssertRows(LogSumExp, oracle.LogSumExp, "logSumExp");
        AssertRows(Entropy, oracle.Entropy, "entropy");
        if (TargetProbabilities is null) AssertRows(TargetLogProbability, oracle.TargetLogProbability, "targetLogProbability");
    }

    public void AssertGradients(CutCrossEntropyResult result, CutCrossEntropyOracle oracle)
    {
        AssertGradients(oracle);
        oracle.DLogitScale().AssertNear(result.DLogitScale!.Value, $"dLogitScale of {this}");
        if (Bias is not null)
            for (int v = 0; v < DBias.Length; v++) oracle.DBias(v).AssertNear(DBias[v], $"dBias[{v}] of {this}");
    }

    public void AssertGradients(CutCrossEntropyOracle oracle)
    {
        AssertMatrix(DEmbeddings, "dEmbeddings", oracle.DEmbedding);
        AssertMatrix(DClassifier, "dClassifier", oracle.DClassifier);
    }

    public override string ToString() =>
        $"N {Rows}, V {Classifier.Rows}, D {Embeddings.Columns}, {_embeddingsType} x {_classifierType}, {Options}";

    private CutCrossEntropyTensors AddForwardOutputs(CutCrossEntropyTensors tensors)
    {
        tensors.LogSumExp = LogSumExp;
        tensors.Entropy = Entropy;
        if (TargetProbabilities is null) tensors.TargetLogProbability = TargetLogProbability;
        if (Options.Reduction == LossReduction.None) tensors.Losses = Losses;
        return tensors;
    }

    private CutCrossEntropyTensors AddGradients(CutCrossEntropyTensors tensors)
    {
        tensors.GradLoss = GradLoss;
        tensors.GradLosses = GradLosses;
        tensors.GradLogSumExp = GradLogSumExp;
        tensors.GradEntropy = GradEntropy;
        tensors.DEmbeddings = DEmbeddings.Span;
        tensors.DClassifier = DClassifier.Span;
        if (Bias is not null) tensors.DBias = DBias;
        tensors.WantDLogitScale = true;
        return tensors;
    }

    // The row whose target judges this one; null past the end of its sequence.
    private int? ShiftedRow(int row)
    {
        int length = SequenceLength == 0 ? Rows : SequenceLength;
        return row % length + Options.Shift < length ? row + (int)Options.Shift : null;
    }

    private void AssertRows(float[] actual, Bounded[] expected, string name)
    {
        for (int row = 0; row < Rows; row++) expected[row].AssertNear(actual[row], $"{name}[{row}] of {this}");
    }

    private void AssertMatrix(TestMatrix matrix, string name, Func<int, int, Bounded> oracle)
    {
        matrix.AssertGapsUntouched($"{name} of {this}");
        for (int row = 0; row < matrix.Rows; row++)
            for (int d = 0; d < matrix.Columns; d++)
                oracle(row, d).AssertNear(matrix[row, d], $"{name}[{row}, {d}] of {this}");
    }
}
