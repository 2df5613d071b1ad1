using CommunityToolkit.HighPerformance;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Dense matrix product: <c>c = alpha * op(a) * op(b) + beta * c</c>, where op transposes or not.</summary>
public static class Gemm
{
    /// <summary>Multiplies two matrices.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="a">[M, K], or [K, M] with <see cref="GemmOptions.TransposeA"/>. Rows may lie apart (a slice).</param>
    /// <param name="b">[K, N], or [N, K] with <see cref="GemmOptions.TransposeB"/>.</param>
    /// <param name="c">[M, N]; must not overlap <paramref name="a"/> or <paramref name="b"/>.</param>
    /// <param name="options">Transposes, alpha, beta.</param>
    /// <param name="cancellationToken">Ends the call early; <paramref name="c"/> is then unspecified.</param>
    /// <remarks>M, N or K may be 0; K = 0 gives <c>c = beta * c</c>. The same inputs give the same bits, whatever the number
    /// of threads. No memory is allocated on the managed heap. A <c>Span2D</c> that is made from an empty array or span is
    /// 0 by 0, whatever extents were asked for: give an empty matrix a buffer with at least one element.</remarks>
    /// <exception cref="ArgumentException">Shapes do not match, or <paramref name="c"/> overlaps an input.</exception>
    /// <exception cref="FusedKernelsException">The workspace limit is too small, or there is no memory.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static unsafe void Multiply(
        FusedContext context,
        ReadOnlySpan2D<float> a,
        ReadOnlySpan2D<float> b,
        Span2D<float> c,
        GemmOptions options = default,
        CancellationToken cancellationToken = default)
    {
        const int Capacity = 3 * TensorBuilder.Matrix;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* aData = a, bData = b, cData = c)
        {
            DLTensor aTensor = tensors.AddMatrix(aData, a);
            DLTensor bTensor = tensors.AddMatrix(bData, b);
            DLTensor cTensor = tensors.AddMatrix(cData, c);
            FusedKernelsInterop.Gemm(context, &aTensor, &bTensor, &cTensor, options, cancellationToken);
        }
    }
}
