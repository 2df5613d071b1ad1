using CommunityToolkit.HighPerformance;
using FusedKernels;

namespace LanguageModel.Model;

/// <summary>RMSNorm with a learned gain.</summary>
internal sealed class NormLayer(ParameterSet parameters, string name, int dim, int maxRows)
{
    private readonly Parameter _gain = parameters.Add(name, 1, dim, initialDeviation: 0);
    private readonly float[] _inverseRms = new float[maxRows];

    public void Forward(FusedContext context, ReadOnlySpan2D<float> x, Span2D<float> y) =>
        RmsNorm.Forward(context, x, _gain.Value.Data, y, inverseRms: _inverseRms.AsSpan(0, x.Height));

    public void Backward(FusedContext context, ReadOnlySpan2D<float> x, ReadOnlySpan2D<float> dY, Span2D<float> dX) =>
        RmsNorm.Backward(context, x, _gain.Value.Data, _inverseRms.AsSpan(0, x.Height), dY, dX, _gain.Gradient.Data);
}
