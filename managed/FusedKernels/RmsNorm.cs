using CommunityToolkit.HighPerformance;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Zhang &amp; Sennrich, "Root Mean Square Layer Normalization", 2019: <c>inverseRms = 1 / sqrt(mean(x^2) + epsilon)</c> of
/// each row, <c>y = x * inverseRms * weight</c>.
/// </summary>
public static class RmsNorm
{
    /// <summary>Normalises rows.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="x">[N, D], f32.</param>
    /// <param name="weight">[D].</param>
    /// <param name="y">[N, D], overwritten; may be <paramref name="x"/>.</param>
    /// <param name="options">Epsilon.</param>
    /// <param name="inverseRms">[N], written for the backward pass; empty: not wanted.</param>
    /// <exception cref="ArgumentException">Shapes do not match, outputs overlap, or epsilon is out of range.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static unsafe void Forward(
        FusedContext context,
        ReadOnlySpan2D<float> x,
        ReadOnlySpan<float> weight,
        Span2D<float> y,
        RmsNormOptions options = default,
        Span<float> inverseRms = default)
    {
        const int Capacity = 2 * TensorBuilder.Matrix + 2 * TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* xData = x, weightData = weight, yData = y, inverseRmsData = inverseRms)
        {
            DLTensor xTensor = tensors.AddMatrix(xData, x);
            DLTensor weightTensor = tensors.AddVector(weightData, weight.Length);
            DLTensor yTensor = tensors.AddMatrix(yData, y);
            DLTensor inverseRmsTensor = tensors.AddVector(inverseRmsData, inverseRms.Length);
            FusedKernelsInterop.RmsNormForward(
                context, &xTensor, &weightTensor, &yTensor, inverseRms.IsEmpty ? null : &inverseRmsTensor, options);
        }
    }

    /// <summary>Computes the gradients of the normalisation.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="x">[N, D], the input of the forward pass.</param>
    /// <param name="weight">[D].</param>
    /// <param name="inverseRms">[N], what the forward pass wrote.</param>
    /// <param name="dY">[N, D], the gradient that arrives at the output.</param>
    /// <param name="dX">[N, D], overwritten; may be <paramref name="dY"/>; empty: not wanted.</param>
    /// <param name="dWeight">[D], overwritten; empty: not wanted.</param>
    /// <param name="options">Epsilon, as in the forward pass.</param>
    /// <exception cref="ArgumentException">Shapes do not match, outputs overlap, or epsilon is out of range.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static unsafe void Backward(
        FusedContext context,
        ReadOnlySpan2D<float> x,
        ReadOnlySpan<float> weight,
        ReadOnlySpan<float> inverseRms,
        ReadOnlySpan2D<float> dY,
        Span2D<float> dX,
        Span<float> dWeight,
        RmsNormOptions options = default)
    {
        const int Capacity = 3 * TensorBuilder.Matrix + 3 * TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* xData = x, weightData = weight, inverseRmsData = inverseRms)
        fixed (float* dYData = dY, dXData = dX, dWeightData = dWeight)
        {
            DLTensor xTensor = tensors.AddMatrix(xData, x);
            DLTensor weightTensor = tensors.AddVector(weightData, weight.Length);
            DLTensor inverseRmsTensor = tensors.AddVector(inverseRmsData, inverseRms.Length);
            DLTensor dYTensor = tensors.AddMatrix(dYData, dY);
            DLTensor dXTensor = tensors.AddMatrix(dXData, dX);
            DLTensor dWeightTensor = tensors.AddVector(dWeightData, dWeight.Length);
            FusedKernelsInterop.RmsNormBackward(
                context, &xTensor, &weightTensor, &inverseRmsTensor, &dYTensor, dX.IsEmpty ? null : &dXTensor,
                dWeight.IsEmpty ? null : &dWeightTensor, options);
        }
    }
}
