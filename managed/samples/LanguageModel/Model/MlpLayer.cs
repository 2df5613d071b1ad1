using CommunityToolkit.HighPerformance;
using FusedKernels;

namespace LanguageModel.Model;

/// <summary>SwiGLU MLP: y = (swish(x G) * (x U)) D, where gate G and up U are columns of one matrix.</summary>
internal sealed class MlpLayer
{
    private readonly int _width;
    private readonly LinearLayer _gateUp;
    private readonly LinearLayer _down;
    private readonly Matrix _gateUpActivations;
    private readonly Matrix _dGateUpActivations;
    private readonly Matrix _hidden;
    private readonly Matrix _dHidden;

    public MlpLayer(ParameterSet parameters, string name, ModelShape shape, int maxRows)
    {
        _width = shape.Hidden;
        _gateUp = new LinearLayer(parameters, name + ".gate_up", shape.Dim, 2 * _width, InitialDeviation.Inner(shape.Dim));
        _down = new LinearLayer(parameters, name + ".down", _width, shape.Dim, InitialDeviation.Residual(_width, shape.Layers));
        _gateUpActivations = new Matrix(maxRows, 2 * _width);
        _dGateUpActivations = new Matrix(maxRows, 2 * _width);
        _hidden = new Matrix(maxRows, _width);
        _dHidden = new Matrix(maxRows, _width);
    }

    public void Forward(FusedContext context, ReadOnlySpan2D<float> x, Span2D<float> y)
    {
        int rows = x.Height;
        _gateUp.Forward(context, x, _gateUpActivations.Top(rows));
        SwiGlu.Forward(context, Gate(_gateUpActivations, rows), Up(_gateUpActivations, rows), _hidden.Top(rows));
        _down.Forward(context, _hidden.Top(rows), y);
    }

    public void Backward(FusedContext context, ReadOnlySpan2D<float> x, ReadOnlySpan2D<float> dY, Span2D<float> dX)
    {
        int rows = x.Height;
        _down.Backward(context, _hidden.Top(rows), dY, _dHidden.Top(rows));
        SwiGlu.Backward(
            context,
            Gate(_gateUpActivations, rows),
            Up(_gateUpActivations, rows),
            _dHidden.Top(rows),
            Gate(_dGateUpActivations, rows),
            Up(_dGateUpActivations, rows));
        _gateUp.Backward(context, x, _dGateUpActivations.Top(rows), dX);
    }

    private Span2D<float> Gate(Matrix matrix, int rows) => matrix.Top(rows).Slice(0, 0, rows, _width);

    private Span2D<float> Up(Matrix matrix, int rows) => matrix.Top(rows).Slice(0, _width, rows, _width);
}
