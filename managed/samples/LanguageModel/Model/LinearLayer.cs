using CommunityToolkit.HighPerformance;
using FusedKernels;

namespace LanguageModel.Model;

/// <summary>y = x W, with W [inputs, outputs] and no bias.</summary>
internal sealed class LinearLayer(ParameterSet parameters, string name, int inputs, int outputs, float initialDeviation)
{
    private readonly Parameter _weight = parameters.Add(name, inputs, outputs, initialDeviation);

    public void Forward(FusedContext context, ReadOnlySpan2D<float> x, Span2D<float> y) =>
        Gemm.Multiply(context, x, _weight.Value.All, y);

    public void Backward(FusedContext context, ReadOnlySpan2D<float> x, ReadOnlySpan2D<float> dY, Span2D<float> dX)
    {
        Gemm.Multiply(context, x, dY, _weight.Gradient.All, new GemmOptions { TransposeA = true });
        Gemm.Multiply(context, dY, _weight.Value.All, dX, new GemmOptions { TransposeB = true });
    }
}
