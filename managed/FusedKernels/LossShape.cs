namespace FusedKernels;

/// <summary>
/// What a row's loss is as a function of its cross-entropy l = -log p, p being the probability of its target. The gradient
/// is the cross-entropy's times the function's derivative, one factor per row. <c>default</c> is the cross-entropy itself.
/// </summary>
public readonly record struct LossShape
{
    private LossShape(LossShapeKind kind, float parameter = 0) => (Kind, Parameter) = (kind, parameter);

    /// <summary>l.</summary>
    public static LossShape CrossEntropy => default;

    /// <summary>1 - p, the mean absolute error of a classifier: <see cref="Generalised"/> of 1.</summary>
    public static LossShape MeanAbsoluteError => Generalised(1);

    /// <summary>p l, with p held constant in the gradient: Wu et al., "Dynamic Fine-Tuning", 2025.</summary>
    public static LossShape TokenScaled => new(LossShapeKind.TokenScaled);

    /// <summary>The formula.</summary>
    public LossShapeKind Kind { get; }

    /// <summary>The formula's parameter; 0 where it has none.</summary>
    public float Parameter { get; }

    /// <summary>(1 - p)^gamma l, which gives less weight to rows that are right: Lin et al., "Focal Loss", 2017.</summary>
    /// <param name="gamma">At least 0; 0 gives the cross-entropy.</param>
    /// <returns>The shape; the call refuses a parameter out of range.</returns>
    public static LossShape Focal(float gamma) => new(LossShapeKind.Focal, gamma);

    /// <summary>l + epsilon (1 - p): Leng et al., "PolyLoss", 2022.</summary>
    /// <param name="epsilon">At least -1; 0 gives the cross-entropy.</param>
    /// <returns>The shape; the call refuses a parameter out of range.</returns>
    public static LossShape Poly1(float epsilon) => new(LossShapeKind.Poly1, epsilon);

    /// <summary>
    /// (1 - p^q) / q: Zhang and Sabuncu, "Generalized Cross Entropy", 2018, and the comp-sum family of Mao et al., 2023,
    /// with tau = 1 + q. From the cross-entropy at 0 to the mean absolute error at 1, ever less moved by wrong labels.
    /// </summary>
    /// <param name="q">From -1 to 1.</param>
    /// <returns>The shape; the call refuses a parameter out of range.</returns>
    public static LossShape Generalised(float q) => new(LossShapeKind.Generalised, q);
}
