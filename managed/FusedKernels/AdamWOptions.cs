using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Settings of one step of <see cref="AdamW"/>; the defaults are PyTorch's.</summary>
public readonly record struct AdamWOptions
{
    private const float DefaultLearningRate = 1e-3f, DefaultBeta1 = 0.9f, DefaultBeta2 = 0.999f, DefaultEpsilon = 1e-8f;
    private const float DefaultWeightDecay = 0.01f, DefaultGradientScale = 1;

    // Null stands for the default, so that 0 can be said and equal options compare equal.
    private readonly float? _learningRate;
    private readonly float? _beta1;
    private readonly float? _beta2;
    private readonly float? _epsilon;
    private readonly float? _weightDecay;
    private readonly float? _gradientScale;

    /// <summary>The number of this update: 1 for the first, then 2, ... It has no default, since forgetting to count changes
    /// the result silently.</summary>
    public required long Step { get; init; }

    /// <summary>The learning rate; finite, 1e-3 by default.</summary>
    public float LearningRate
    {
        get => _learningRate ?? DefaultLearningRate;
        init => _learningRate = value == DefaultLearningRate ? null : value;
    }

    /// <summary>The decay of the first moment; in [0, 1), 0.9 by default.</summary>
    public float Beta1
    {
        get => _beta1 ?? DefaultBeta1;
        init => _beta1 = value == DefaultBeta1 ? null : value;
    }

    /// <summary>The decay of the second moment; in [0, 1), 0.999 by default.</summary>
    public float Beta2
    {
        get => _beta2 ?? DefaultBeta2;
        init => _beta2 = value == DefaultBeta2 ? null : value;
    }

    /// <summary>Added to the root of the second moment; finite and not negative, 1e-8 by default.</summary>
    public float Epsilon
    {
        get => _epsilon ?? DefaultEpsilon;
        init => _epsilon = value == DefaultEpsilon ? null : value;
    }

    /// <summary>Decoupled weight decay, <c>parameter *= 1 - LearningRate * WeightDecay</c>; finite, 0.01 by default.</summary>
    public float WeightDecay
    {
        get => _weightDecay ?? DefaultWeightDecay;
        init => _weightDecay = value == DefaultWeightDecay ? null : value;
    }

    /// <summary>Multiplies the gradient first (averaging, clipping); 1 by default.</summary>
    public float GradientScale
    {
        get => _gradientScale ?? DefaultGradientScale;
        init => _gradientScale = value == DefaultGradientScale ? null : value;
    }

    internal unsafe NativeAdamWOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeAdamWOptions),
        LearningRate = LearningRate,
        Beta1 = Beta1,
        Beta2 = Beta2,
        Epsilon = Epsilon,
        WeightDecay = WeightDecay,
        GradientScale = GradientScale,
        Step = Step,
    };
}
