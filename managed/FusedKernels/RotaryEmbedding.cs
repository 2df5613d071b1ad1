using System.Numerics.Tensors;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Su et al., "RoFormer", 2021: pair i of the element at position p turns by the angle <c>p * base^(-2i / rotaryDims)</c>,
/// in radians.
/// </summary>
public static class RotaryEmbedding
{
    /// <summary>Rotates queries or keys by their positions.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="x">[batch B, sequence S, heads H, head dimension D], f32; stride 1 along the last axis.</param>
    /// <param name="y">Shaped like <paramref name="x"/>, overwritten; may be <paramref name="x"/>.</param>
    /// <param name="options">Arrangement of pairs, direction, dimensions, offset and base.</param>
    /// <param name="positions">[S], each at least 0; empty: 0, 1, ..., S - 1.</param>
    /// <exception cref="ArgumentException">Shapes do not match, a position is negative, or an option is out of range.
    /// </exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static unsafe void Apply(
        FusedContext context,
        in ReadOnlyTensorSpan<float> x,
        in TensorSpan<float> y,
        RotaryEmbeddingOptions options = default,
        ReadOnlySpan<int> positions = default)
    {
        const int Capacity = 2 * TensorBuilder.Tensor + TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* xData = x, yData = y)
        fixed (int* positionsData = positions)
        {
            DLTensor xTensor = tensors.AddTensor(xData, x);
            DLTensor yTensor = tensors.AddTensor(yData, y);
            DLTensor positionsTensor = tensors.AddVector(positionsData, positions.Length);
            FusedKernelsInterop.RotaryEmbedding(
                context, &xTensor, positions.IsEmpty ? null : &positionsTensor, &yTensor, options);
        }
    }
}
