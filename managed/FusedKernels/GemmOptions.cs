using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Settings of <see cref="Gemm"/>; <c>default</c> multiplies plainly: no transpose, alpha 1, beta 0.</summary>
public readonly record struct GemmOptions
{
    // Null stands for 1, so that default(GemmOptions) means what it says.
    private readonly float? _alpha;

    /// <summary>False (default): <c>a</c> is [M, K]; true: <c>a</c> is [K, M].</summary>
    public bool TransposeA { get; init; }

    /// <summary>False (default): <c>b</c> is [K, N]; true: <c>b</c> is [N, K].</summary>
    public bool TransposeB { get; init; }

    /// <summary>The factor of the product; 1 by default.</summary>
    public float Alpha
    {
        get => _alpha ?? 1;
        init => _alpha = value == 1 ? null : value;
    }

    /// <summary>The factor of what <c>c</c> held before; 0 by default: <c>c</c> is only written, so NaN in it does not
    /// matter.</summary>
    public float Beta { get; init; }

    internal unsafe NativeGemmOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeGemmOptions),
        TransposeA = TransposeA ? 1 : 0,
        TransposeB = TransposeB ? 1 : 0,
        Alpha = Alpha,
        Beta = Beta,
    };
}
