using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Settings of <see cref="RmsNorm"/>.</summary>
public readonly record struct RmsNormOptions
{
    private const float DefaultEpsilon = 1e-6f;

    // Null stands for the default, so that 0 can be said.
    private readonly float? _epsilon;

    /// <summary>Added to the mean square; finite and not negative, 1e-6 by default.</summary>
    public float Epsilon
    {
        get => _epsilon ?? DefaultEpsilon;
        init => _epsilon = value == DefaultEpsilon ? null : value;
    }

    internal unsafe NativeRmsNormOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeRmsNormOptions),
        Epsilon = Epsilon,
    };
}
