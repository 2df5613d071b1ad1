using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Settings of <see cref="RotaryEmbedding"/>; <c>default</c> is Llama's arrangement over all dimensions.</summary>
public readonly record struct RotaryEmbeddingOptions
{
    private const float DefaultBase = 10000;

    // Null stands for the default.
    private readonly float? _base;

    /// <summary>False (default): pairs are (i, i + RotaryDims / 2), as in GPT-NeoX and Llama; true: (2i, 2i + 1).</summary>
    public bool Interleaved { get; init; }

    /// <summary>True rotates by the negative angle, which is the backward pass; false by default.</summary>
    public bool Inverse { get; init; }

    /// <summary>0 (default): all D dimensions rotate. Otherwise even, in [2, D]: the first ones rotate, the rest is
    /// copied.</summary>
    public int RotaryDims { get; init; }

    /// <summary>Added to every position; 0 by default.</summary>
    public long PositionOffset { get; init; }

    /// <summary>The base of the angles; finite and positive, 10000 by default.</summary>
    public float Base
    {
        get => _base ?? DefaultBase;
        init => _base = value == DefaultBase ? null : value;
    }

    internal unsafe NativeRotaryEmbeddingOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeRotaryEmbeddingOptions),
        Interleaved = Interleaved ? 1 : 0,
        Inverse = Inverse ? 1 : 0,
        RotaryDims = RotaryDims,
        PositionOffset = PositionOffset,
        Base = Base,
    };
}
