using System.Numerics.Tensors;
using CommunityToolkit.HighPerformance;
using FusedKernels;

namespace LanguageModel.Model;

/// <summary>
/// Causal multi-head attention with rotary positions, where asked within a window and with fewer heads of keys and values
/// than of queries. Queries, keys and values are columns of one matrix.
/// </summary>
internal sealed class AttentionLayer
{
    private readonly int _heads;
    private readonly int _kvHeads;
    private readonly int _headDim;
    private readonly AttentionOptions _options;
    private readonly LinearLayer _project;
    private readonly LinearLayer _output;
    private readonly Matrix _qkv;
    private readonly Matrix _dQkv;
    private readonly Matrix _attended;
    private readonly Matrix _dAttended;
    private readonly float[] _logSumExp;

    public AttentionLayer(ParameterSet parameters, string name, ModelShape shape, int maxRows)
    {
        _heads = shape.Heads;
        _kvHeads = shape.KvHeads;
        _headDim = shape.HeadDim;
        _options = new AttentionOptions { IsCausal = true, WindowLeft = shape.Window - 1, RotaryDims = shape.HeadDim };
        int columns = (_heads + (2 * _kvHeads)) * _headDim;
        _project = new LinearLayer(parameters, name + ".qkv", shape.Dim, columns, InitialDeviation.Inner(shape.Dim));
        _output = new LinearLayer(parameters, name + ".output", shape.Dim, shape.Dim, InitialDeviation.Residual(shape.Dim, shape.Layers));
        _qkv = new Matrix(maxRows, columns);
        _dQkv = new Matrix(maxRows, columns);
        _attended = new Matrix(maxRows, shape.Dim);
        _dAttended = new Matrix(maxRows, shape.Dim);
        _logSumExp = new float[maxRows * shape.Heads];
    }

    /// <param name="context">Runs the operators.</param>
    /// <param name="batch">Of the rows.</param>
    /// <param name="x">Input, [rows, dim].</param>
    /// <param name="y">Output, [rows, dim].</param>
    /// <param name="cache">The sequence's earlier keys and values, which the new ones join; null: the batch is all there is.</param>
    public void Forward(FusedContext context, BatchShape batch, ReadOnlySpan2D<float> x, Span2D<float> y, KvCache? cache)
    {
        _project.Forward(context, x, _qkv.Top(batch.Rows));
        TensorSpan<float> q = Queries(_qkv, batch), k = Keys(_qkv, batch), v = Values(_qkv, batch);
        TensorSpan<float> attended = Queries(_attended, batch);
        if (cache is null)
        {
            Attention.Forward(context, q, k, v, attended, _options, LogSumExp(batch));
        }
        else
        {
            cache.Attend(context, q, k, v, attended, _options);
        }

        _output.Forward(context, _attended.Top(batch.Rows), y);
    }

    public void Backward(FusedContext context, BatchShape batch, ReadOnlySpan2D<float> x, ReadOnlySpan2D<float> dY, Span2D<float> dX)
    {
        _output.Backward(context, _attended.Top(batch.Rows), dY, _dAttended.Top(batch.Rows));
        Attention.Backward(
            context,
            Queries(_qkv, batch),
            Keys(_qkv, batch),
            Values(_qkv, batch),
            Queries(_attended, batch),
            LogSumExp(batch),
            Queries(_dAttended, batch),
            Queries(_dQkv, batch),
            Keys(_dQkv, batch),
            Values(_dQkv, batch),
            _options);
        _project.Backward(context, x, _dQkv.Top(batch.Rows), dX);
    }

    private TensorSpan<float> Queries(Matrix matrix, BatchShape batch) => Heads(matrix, batch, 0, _heads);

    private TensorSpan<float> Keys(Matrix matrix, BatchShape batch) => Heads(matrix, batch, _heads, _kvHeads);

    private TensorSpan<float> Values(Matrix matrix, BatchShape batch) => Heads(matrix, batch, _heads + _kvHeads, _kvHeads);

    /// <summary>A view [sequences, length, count, headDim] of the columns of some heads; nothing is copied.</summary>
    private TensorSpan<float> Heads(Matrix matrix, BatchShape batch, int firstHead, int count)
    {
        // TensorSpan wants stride 0 along an axis of length 1.
        ReadOnlySpan<nint> lengths = [batch.Sequences, batch.Length, count, _headDim];
        ReadOnlySpan<nint> strides =
        [
            batch.Sequences == 1 ? 0 : batch.Length * matrix.Columns,
            batch.Length == 1 ? 0 : matrix.Columns,
            count == 1 ? 0 : _headDim,
            1,
        ];
        return new TensorSpan<float>(matrix.Data.AsSpan(firstHead * _headDim), lengths, strides);
    }

    private Span<float> LogSumExp(BatchShape batch) => _logSumExp.AsSpan(0, batch.Rows * _heads);
}
