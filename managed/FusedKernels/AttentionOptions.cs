using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Settings of <see cref="Attention"/>, whose remarks have the formulas; <c>default</c> is full attention with scale
/// <c>1 / sqrt(D)</c>.
/// </summary>
public readonly record struct AttentionOptions
{
    private const long DefaultMaskBlock = 64, DefaultMaxDistance = 128;
    private const float DefaultRotaryBase = 10000;

    // Null stands for the default, so that default(AttentionOptions) means what it says.
    private readonly long? _maskBlockRows, _maskBlockColumns, _relativeMaxDistance;
    private readonly float? _rotaryBase;

    /// <summary>Causal attention, with scale <c>1 / sqrt(D)</c>.</summary>
    public static AttentionOptions Causal => new() { IsCausal = true };

    /// <summary>Whether a query sees only the keys up to its own position; false by default.</summary>
    public bool IsCausal { get; init; }

    /// <summary>Where queries stand when there are not as many of them as of keys; bottom-right by default.</summary>
    public AttentionAlignment Alignment { get; init; }

    /// <summary>Positions that a query sees behind its own, at least 0; null (default) or -1: all of them. 0 is its own
    /// position and what lies ahead. Beltagy et al., "Longformer", 2020.</summary>
    public long? WindowLeft { get; init; }

    /// <summary>Positions that a query sees ahead of its own, at least 0; null (default) or -1: all of them.</summary>
    public long? WindowRight { get; init; }

    /// <summary>The factor of the scores, finite; null (default): <c>1 / sqrt(D)</c>.</summary>
    public float? Scale { get; init; }

    /// <summary>The bound c of <c>c tanh(score / c)</c>, before biases; 0 (default): none. Otherwise finite and above
    /// 0.</summary>
    public float Softcap { get; init; }

    /// <summary>
    /// Above 1: scores are multiplied by <c>log(n) / log(LengthScaleBase)</c> before the softcap, n the keys that causality,
    /// windows, prefix and lengths let the query see. 0 (default): they are not. Chiang &amp; Cholak, "Overcoming a
    /// Theoretical Limitation of Self-Attention", 2022: the base e.
    /// </summary>
    public float LengthScaleBase { get; init; }

    /// <summary>Queries of a block of <see cref="AttentionTensors.BlockMask"/>, at least 1; 64 by default.</summary>
    public long MaskBlockRows
    {
        get => _maskBlockRows ?? DefaultMaskBlock;
        init => _maskBlockRows = value == DefaultMaskBlock ? null : value;
    }

    /// <summary>Keys of a block of <see cref="AttentionTensors.BlockMask"/>, at least 1; 64 by default.</summary>
    public long MaskBlockColumns
    {
        get => _maskBlockColumns ?? DefaultMaskBlock;
        init => _maskBlockColumns = value == DefaultMaskBlock ? null : value;
    }

    /// <summary>
    /// False (default): the first half of the buckets of <see cref="AttentionTensors.RelativeBias"/> is for keys at the
    /// query's position and behind it, the second for keys ahead (T5's encoder), which needs an even number of buckets.
    /// True: all are for keys behind, and keys ahead count as at the query's position (T5's decoder).
    /// </summary>
    public bool IsRelativeBiasOneSided { get; init; }

    /// <summary>The distance from which on <see cref="AttentionTensors.RelativeBias"/> uses its last bucket, above the
    /// number of exact buckets; 128 by default.</summary>
    public long RelativeMaxDistance
    {
        get => _relativeMaxDistance ?? DefaultMaxDistance;
        init => _relativeMaxDistance = value == DefaultMaxDistance ? null : value;
    }

    /// <summary>The probability with which a weight is dropped, in [0, 1); the others are multiplied by
    /// <c>1 / (1 - Dropout)</c>. 0 by default.</summary>
    public float Dropout { get; init; }

    /// <summary>
    /// What decides which weights are dropped. The weight of (b, h, i, j) is kept where word j % 4 of Philox4x32-10 (Salmon
    /// et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011) of the counter (j / 4, i, h, b) and the key (low, high
    /// half of the seed) is at least <c>floor(Dropout * 2^32)</c>, with i and j along the axes of q and k. So backward drops
    /// the same. 0 by default.
    /// </summary>
    public ulong DropoutSeed { get; init; }

    /// <summary>
    /// Even, in [2, D]: the first dimensions of queries and keys are rotated by their positions (and the offsets below)
    /// while they are loaded, as <see cref="RotaryEmbedding"/> does. 0 (default): nothing is rotated. Gradients are those of
    /// the arrays as they were passed.
    /// </summary>
    public int RotaryDims { get; init; }

    /// <summary>False (default): pairs are (i, i + RotaryDims / 2), as in GPT-NeoX and Llama; true: (2i, 2i + 1).</summary>
    public bool RotaryInterleaved { get; init; }

    /// <summary>The base of the rotation's angles; finite and positive, 10000 by default.</summary>
    public float RotaryBase
    {
        get => _rotaryBase ?? DefaultRotaryBase;
        init => _rotaryBase = value == DefaultRotaryBase ? null : value;
    }

    /// <summary>Added to the queries' positions when they are rotated; 0 by default.</summary>
    public long RotaryQueryOffset { get; init; }

    /// <summary>Added to the keys' positions when they are rotated; 0 by default.</summary>
    public long RotaryKeyOffset { get; init; }

    internal unsafe NativeAttentionOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeAttentionOptions),
        Causal = IsCausal ? 1 : 0,
        Scale = Scale is { } scale ? RequireNumber(scale) : float.NaN,
        Softcap = Softcap,
        Alignment = Alignment,
        LengthScaleBase = LengthScaleBase,
        WindowLeft = WindowLeft ?? NativeAttentionOptions.NoWindow,
        WindowRight = WindowRight ?? NativeAttentionOptions.NoWindow,
        MaskBlockRows = MaskBlockRows,
        MaskBlockColumns = MaskBlockColumns,
        RelativeBidirectional = IsRelativeBiasOneSided ? 0 : 1,
        Dropout = Dropout,
        RelativeMaxDistance = RelativeMaxDistance,
        DropoutSeed = DropoutSeed,
        RotaryDims = RotaryDims,
        RotaryInterleaved = RotaryInterleaved ? 1 : 0,
        RotaryBase = RotaryBase,
        RotaryQueryOffset = RotaryQueryOffset,
        RotaryKeyOffset = RotaryKeyOffset,
    };

    // NaN is how the C ABI says that there is none.
    private static float RequireNumber(float scale) => !float.IsNaN(scale) ? scale
        : throw new ArgumentException("options: Scale is NaN; it must be finite, or null for 1 / sqrt(D).");
}
