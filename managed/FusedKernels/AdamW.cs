using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Loshchilov &amp; Hutter, "Decoupled Weight Decay Regularization", 2019, with the order of operations of PyTorch's AdamW.
/// </summary>
public static class AdamW
{
    /// <summary>Updates parameters by one step.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="parameter">The parameters, f32; updated.</param>
    /// <param name="gradient">Their gradients; as long as <paramref name="parameter"/>, like the moments.</param>
    /// <param name="firstMoment">The running mean of the gradients, zeros before the first step; updated.</param>
    /// <param name="secondMoment">The running mean of their squares, zeros before the first step; updated.</param>
    /// <param name="options">The step's number, learning rate, decays.</param>
    /// <exception cref="ArgumentException">Lengths do not match, arrays overlap, or an option is out of range.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static unsafe void Step(
        FusedContext context,
        Span<float> parameter,
        ReadOnlySpan<float> gradient,
        Span<float> firstMoment,
        Span<float> secondMoment,
        AdamWOptions options)
    {
        const int Capacity = 4 * TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* parameterData = parameter, gradientData = gradient)
        fixed (float* firstMomentData = firstMoment, secondMomentData = secondMoment)
        {
            DLTensor parameterTensor = tensors.AddVector(parameterData, parameter.Length);
            DLTensor gradientTensor = tensors.AddVector(gradientData, gradient.Length);
            DLTensor firstMomentTensor = tensors.AddVector(firstMomentData, firstMoment.Length);
            DLTensor secondMomentTensor = tensors.AddVector(secondMomentData, secondMoment.Length);
            FusedKernelsInterop.AdamWStep(
                context, &parameterTensor, &gradientTensor, &firstMomentTensor, &secondMomentTensor, options);
        }
    }
}
