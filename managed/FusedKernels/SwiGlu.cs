using CommunityToolkit.HighPerformance;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Shazeer, "GLU Variants Improve Transformer", 2020: <c>output = gate * sigmoid(gate) * up</c>, element by element.
/// </summary>
public static class SwiGlu
{
    /// <summary>Computes the gated activation.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="gate">[N, D], f32.</param>
    /// <param name="up">[N, D].</param>
    /// <param name="output">[N, D], overwritten; may be <paramref name="gate"/> or <paramref name="up"/>.</param>
    /// <exception cref="ArgumentException">Shapes do not match, or arrays overlap in another way.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static unsafe void Forward(
        FusedContext context, ReadOnlySpan2D<float> gate, ReadOnlySpan2D<float> up, Span2D<float> output)
    {
        const int Capacity = 3 * TensorBuilder.Matrix;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* gateData = gate, upData = up, outputData = output)
        {
            DLTensor gateTensor = tensors.AddMatrix(gateData, gate);
            DLTensor upTensor = tensors.AddMatrix(upData, up);
            DLTensor outputTensor = tensors.AddMatrix(outputData, output);
            FusedKernelsInterop.SwiGluForward(context, &gateTensor, &upTensor, &outputTensor);
        }
    }

    /// <summary>Computes the gradients of the gated activation.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="gate">[N, D], the input of the forward pass.</param>
    /// <param name="up">[N, D], the input of the forward pass.</param>
    /// <param name="dOutput">[N, D], the gradient that arrives at the output.</param>
    /// <param name="dGate">[N, D], overwritten; may be <paramref name="gate"/> or <paramref name="dOutput"/>.</param>
    /// <param name="dUp">[N, D], overwritten; may be <paramref name="up"/> or <paramref name="dOutput"/>, but not
    /// <paramref name="dGate"/>.</param>
    /// <exception cref="ArgumentException">Shapes do not match, or arrays overlap in another way.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static unsafe void Backward(
        FusedContext context,
        ReadOnlySpan2D<float> gate,
        ReadOnlySpan2D<float> up,
        ReadOnlySpan2D<float> dOutput,
        Span2D<float> dGate,
        Span2D<float> dUp)
    {
        const int Capacity = 5 * TensorBuilder.Matrix;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* gateData = gate, upData = up, dOutputData = dOutput, dGateData = dGate, dUpData = dUp)
        {
            DLTensor gateTensor = tensors.AddMatrix(gateData, gate);
            DLTensor upTensor = tensors.AddMatrix(upData, up);
            DLTensor dOutputTensor = tensors.AddMatrix(dOutputData, dOutput);
            DLTensor dGateTensor = tensors.AddMatrix(dGateData, dGate);
            DLTensor dUpTensor = tensors.AddMatrix(dUpData, dUp);
            FusedKernelsInterop.SwiGluBackward(
                context, &gateTensor, &upTensor, &dOutputTensor, &dGateTensor, &dUpTensor);
        }
    }
}
