using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Settings of <see cref="CutCrossEntropy"/>, whose remarks have the formulas; <c>default</c> is the mean of the plain
/// cross-entropy with exact gradients, and ignores rows with target -100.
/// </summary>
public readonly record struct CutCrossEntropyOptions
{
    /// <summary>2^-12, the filter of the paper's section 4.3, for <see cref="FilterDEmbeddings"/> and
    /// <see cref="FilterDClassifier"/>.</summary>
    public const float DefaultFilterEpsilon = 1f / 4096;

    private readonly IgnoreIndexSetting _ignoreIndex;

    // Null stands for 1, so that default(CutCrossEntropyOptions) means what it says.
    private readonly float? _logitScale;

    /// <summary>Mean (default), sum, or one loss per row.</summary>
    public LossReduction Reduction { get; init; }

    /// <summary>How the loss with its gradient is computed; other calls do not look at it.</summary>
    public LossSchedule Schedule { get; init; }

    /// <summary>
    /// Rows with this target have loss 0 and gradient 0, and do not count for the mean; -100 by default. It may lie in
    /// [0, V). Null: no row is ignored.
    /// </summary>
    public long? IgnoreIndex
    {
        get => _ignoreIndex.Value;
        init => _ignoreIndex = new IgnoreIndexSetting(value);
    }

    /// <summary>
    /// Positions between a row and its target, at least 0 (default); 1 judges every position by the next one's token,
    /// without a shifted copy of the targets. The last <c>Shift</c> positions of every sequence are ignored;
    /// <see cref="CutCrossEntropyTensors.SequenceLength"/> tells where sequences end.
    /// </summary>
    public long Shift { get; init; }

    /// <summary>
    /// The factor of the logits; 1 by default. Finite, not 0. A temperature T is <c>1 / T</c>; one that acts after the
    /// softcap is <c>1 / T</c> together with a softcap divided by T. With rows of length 1 on both sides this is the cosine
    /// head.
    /// </summary>
    public float LogitScale
    {
        get => _logitScale ?? 1;
        init => _logitScale = value == 1 ? null : value;
    }

    /// <summary>The bound c of <c>c tanh(logit / c)</c>; 0 (default): none. Otherwise finite and above 0.</summary>
    public float Softcap { get; init; }

    /// <summary>The share of the target distribution that is spread evenly over all classes: 0 (default) to 1.</summary>
    public float LabelSmoothing { get; init; }

    /// <summary>The weight of the squared log-sum-exp in a row's loss, which keeps logits from drifting; 0 by default.
    /// Finite, at least 0.</summary>
    public float ZLoss { get; init; }

    /// <summary>What a row's loss is as a function of its cross-entropy. One other than the cross-entropy needs targets, and
    /// no <see cref="LabelSmoothing"/>.</summary>
    public LossShape LossShape { get; init; }

    /// <summary>
    /// Leaves micro-tiles out of the gradient of the embeddings in which every |dScore| is below this times the row's
    /// gradient scale. 0 (default): exact; otherwise below 1, <see cref="DefaultFilterEpsilon"/> for one. What it cost is in
    /// <see cref="FilterReport"/>.
    /// </summary>
    public float FilterDEmbeddings { get; init; }

    /// <summary>The same for the gradient of the classifier.</summary>
    public float FilterDClassifier { get; init; }

    /// <summary>Visits classes by ascending mean logit, so that likely ones share tiles and a filter skips more of the
    /// others; false by default.</summary>
    public bool OrderVocabulary { get; init; }

    /// <summary>The class of the first row of the classifier, when that is a shard; 0 by default.</summary>
    public long VocabularyOffset { get; init; }

    /// <summary>
    /// The number of classes in all shards together; 0 (default): the classifier is no shard. A shard is for
    /// <see cref="CutCrossEntropy.Partial"/> and the backward pass, and knows neither label smoothing, class weights, target
    /// probabilities, entropy, top tokens nor accuracy.
    /// </summary>
    public long VocabularySize { get; init; }

    internal unsafe NativeCutCrossEntropyOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeCutCrossEntropyOptions),
        Reduction = Reduction,
        HasIgnoreIndex = IgnoreIndex.HasValue ? 1 : 0,
        Schedule = Schedule,
        IgnoreIndex = IgnoreIndex ?? IgnoreIndexSetting.Default,
        Shift = Shift,
        LogitScale = LogitScale,
        Softcap = Softcap,
        LabelSmoothing = LabelSmoothing,
        ZLoss = ZLoss,
        LossShape = LossShape.Kind,
        LossShapeParameter = LossShape.Parameter,
        FilterDEmbeddings = FilterDEmbeddings,
        FilterDClassifier = FilterDClassifier,
        OrderVocabulary = OrderVocabulary ? 1 : 0,
        VocabularyOffset = VocabularyOffset,
        VocabularySize = VocabularySize,
    };
}
