using CommunityToolkit.HighPerformance;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Cross-entropy of logits that are stored: the plain way, for comparison with <see cref="CutCrossEntropy"/>, which does not
/// store them.
/// </summary>
public static class SoftmaxCrossEntropy
{
    /// <summary>Computes the loss, and replaces the logits by the loss's gradient with respect to them.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="logits">[N, V], f32; replaced by the gradient, zeros at ignored rows.</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="options">Reduction and ignore index.</param>
    /// <returns>The mean or the sum of the rows' losses, in nats.</returns>
    /// <exception cref="ArgumentException">Shapes do not match, or the reduction is None.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static unsafe float LossAndGradient(
        FusedContext context, Span2D<float> logits, ReadOnlyIndices targets, SoftmaxCrossEntropyOptions options = default)
    {
        LossArguments.RequireOneLoss(options.Reduction);
        const int Capacity = TensorBuilder.Matrix + 2 * TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        float loss = 0;
        fixed (float* logitsData = logits)
        fixed (byte* targetsData = targets)
        {
            DLTensor logitsTensor = tensors.AddMatrix(logitsData, logits);
            DLTensor targetsTensor = tensors.AddVector(targetsData, targets.DataType, targets.Length);
            DLTensor lossTensor = tensors.AddVector(&loss, 1);
            FusedKernelsInterop.SoftmaxCrossEntropy(context, &logitsTensor, &targetsTensor, &lossTensor, options);
        }
        return loss;
    }
}
