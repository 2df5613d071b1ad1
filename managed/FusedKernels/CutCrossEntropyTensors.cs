using CommunityToolkit.HighPerformance;

namespace FusedKernels;

/// <summary>
/// The arrays of a call of <see cref="CutCrossEntropy"/>: views of the caller's memory, for an object initialiser. All but
/// <see cref="Embeddings"/>, <see cref="Classifier"/> and the targets are optional; what is not set is neither read nor
/// computed.
/// </summary>
/// <remarks>
/// N is the number of rows (tokens), D their dimension, V the number of classes. Vectors and results are f32. The rows of
/// matrices may lie apart (slices). An output must not overlap an input or another output.
/// </remarks>
public ref struct CutCrossEntropyTensors
{
    /// <summary>[N, D], f32, bf16 or f16. Required.</summary>
    public ReadOnlyMatrix Embeddings { get; set; }

    /// <summary>[V, D], f32, bf16 or f16; it need not be the type of <see cref="Embeddings"/>. Required.</summary>
    public ReadOnlyMatrix Classifier { get; set; }

    /// <summary>
    /// [N], each in [0, V) (of a shard: in [0, VocabularySize)) or the ignore index. Required, unless there are
    /// <see cref="TargetProbabilities"/>, or the call has no loss but only the other outputs and gradients that come through
    /// them: <see cref="LossReduction.None"/> without <see cref="Losses"/> and <see cref="GradLosses"/>.
    /// </summary>
    public ReadOnlyIndices Targets { get; set; }

    /// <summary>[N, V], instead of <see cref="Targets"/> and without a shift: finite, at least 0, neither of which is
    /// checked. Rows need not sum to 1.</summary>
    public ReadOnlySpan2D<float> TargetProbabilities { get; set; }

    /// <summary>
    /// The rows form N / SequenceLength sequences, which is where <see cref="CutCrossEntropyOptions.Shift"/> ends; a divisor
    /// of N. 0 (default): all rows are one sequence.
    /// </summary>
    public int SequenceLength { get; set; }

    /// <summary>[V], added to the products of every row.</summary>
    public ReadOnlySpan<float> Bias { get; set; }

    /// <summary>[V], finite: the weight of each class in the loss and in the mean's denominator.</summary>
    public ReadOnlySpan<float> ClassWeights { get; set; }

    /// <summary>[N], finite: the weight of each row in the loss and in the mean's denominator, where 2 counts as two
    /// rows.</summary>
    public ReadOnlySpan<float> RowWeights { get; set; }

    /// <summary>[N]: written by the forward pass and by loss with gradient, read by the backward pass, which needs
    /// it.</summary>
    public Span<float> LogSumExp { get; set; }

    /// <summary>[N], the log-probability of the target: written by the forward pass and by loss with gradient; read by the
    /// backward pass, which needs it with a <see cref="CutCrossEntropyOptions.LossShape"/> of its own.</summary>
    public Span<float> TargetLogProbability { get; set; }

    /// <summary>[N], -sum p log p in nats: written by the forward pass and by loss with gradient; read by the backward pass,
    /// which needs it with <see cref="GradEntropy"/>.</summary>
    public Span<float> Entropy { get; set; }

    /// <summary>[N], written: the rows' losses, with <see cref="LossReduction.None"/> and only then; not set: not
    /// wanted.</summary>
    public Span<float> Losses { get; set; }

    /// <summary>[N, K], K from 1 to 32, written: the K most likely classes in descending order, of equal ones the lowest
    /// first; -1 behind the V-th and at ignored rows. K = 1 is the argmax.</summary>
    public Span2D<int> TopTokens { get; set; }

    /// <summary>[N, K], written: the log-probabilities of <see cref="TopTokens"/>, which it needs; negative infinity behind
    /// the V-th.</summary>
    public Span2D<float> TopLogProbabilities { get; set; }

    /// <summary>Whether the forward pass and loss with gradient return
    /// <see cref="CutCrossEntropyResult.Accuracy"/>.</summary>
    public bool WantAccuracy { get; set; }

    /// <summary>The gradient that arrives at the mean or the sum; null (default): 1.</summary>
    public float? GradLoss { get; set; }

    /// <summary>[N], the gradients that arrive at the losses, with <see cref="LossReduction.None"/>; not set: 1
    /// each.</summary>
    public ReadOnlySpan<float> GradLosses { get; set; }

    /// <summary>[N], the gradients that arrive at <see cref="LogSumExp"/>; not set: 0.</summary>
    public ReadOnlySpan<float> GradLogSumExp { get; set; }

    /// <summary>[N], the gradients that arrive at <see cref="Entropy"/>; not set: 0.</summary>
    public ReadOnlySpan<float> GradEntropy { get; set; }

    /// <summary>[N, D], overwritten with the gradient of the embeddings.</summary>
    public Span2D<float> DEmbeddings { get; set; }

    /// <summary>[V, D], overwritten with the gradient of the classifier; not set for a frozen head.</summary>
    public Span2D<float> DClassifier { get; set; }

    /// <summary>[V], overwritten with the gradient of <see cref="Bias"/>, which it needs; no filter touches it.</summary>
    public Span<float> DBias { get; set; }

    /// <summary>Whether the backward pass and loss with gradient return <see cref="CutCrossEntropyResult.DLogitScale"/>.
    /// Needs <see cref="DEmbeddings"/> or <see cref="DClassifier"/>, and follows its filter.</summary>
    public bool WantDLogitScale { get; set; }

    /// <summary>Whether the backward pass and loss with gradient return
    /// <see cref="CutCrossEntropyResult.FilterReport"/>.</summary>
    public bool WantFilterReport { get; set; }

    /// <summary>[N], written: each row's sum of the |dScore| that the filter left out of dEmbeddings, divided by the row's
    /// gradient scale.</summary>
    public Span<float> DroppedProbability { get; set; }
}
