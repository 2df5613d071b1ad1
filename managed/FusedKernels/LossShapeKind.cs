namespace FusedKernels;

/// <summary>The formula of a <see cref="LossShape"/>.</summary>
public enum LossShapeKind
{
    /// <summary>See <see cref="LossShape.CrossEntropy"/>.</summary>
    CrossEntropy = 0,

    /// <summary>See <see cref="LossShape.Focal"/>.</summary>
    Focal = 1,

    /// <summary>See <see cref="LossShape.Poly1"/>.</summary>
    Poly1 = 2,

    /// <summary>See <see cref="LossShape.Generalised"/>.</summary>
    Generalised = 3,

    /// <summary>See <see cref="LossShape.TokenScaled"/>.</summary>
    TokenScaled = 4,
}
