using System.Numerics.Tensors;
using FusedKernels;

namespace LanguageModel.Model;

/// <summary>One pre-norm transformer block: x + attention(norm(x)), then that + mlp(norm(that)).</summary>
internal sealed class Block
{
    private readonly NormLayer _attentionNorm;
    private readonly AttentionLayer _attention;
    private readonly NormLayer _mlpNorm;
    private readonly MlpLayer _mlp;
    private readonly Matrix _attentionInput;
    private readonly Matrix _middle;
    private readonly Matrix _mlpInput;
    private readonly Matrix _branch;
    private readonly Matrix _dBranch;

    public Block(ParameterSet parameters, string name, ModelShape shape, int maxRows)
    {
        _attentionNorm = new NormLayer(parameters, name + ".attention_norm", shape.Dim, maxRows);
        _attention = new AttentionLayer(parameters, name + ".attention", shape, maxRows);
        _mlpNorm = new NormLayer(parameters, name + ".mlp_norm", shape.Dim, maxRows);
        _mlp = new MlpLayer(parameters, name + ".mlp", shape, maxRows);
        _attentionInput = new Matrix(maxRows, shape.Dim);
        _middle = new Matrix(maxRows, shape.Dim);
        _mlpInput = new Matrix(maxRows, shape.Dim);
        _branch = new Matrix(maxRows, shape.Dim);
        _dBranch = new Matrix(maxRows, shape.Dim);
    }

    /// <summary>The input x [rows, dim] is needed again by <see cref="Backward"/>, so y is another matrix.</summary>
    /// <param name="context">Runs the operators.</param>
    /// <param name="batch">Of the rows.</param>
    /// <param name="x">Input.</param>
    /// <param name="y">Output.</param>
    /// <param name="cache">See <see cref="AttentionLayer.Forward"/>; there is no backward pass with one.</param>
    public void Forward(FusedContext context, BatchShape batch, Matrix x, Matrix y, KvCache? cache)
    {
        int rows = batch.Rows;
        _attentionNorm.Forward(context, x.Top(rows), _attentionInput.Top(rows));
        _attention.Forward(context, batch, _attentionInput.Top(rows), _branch.Top(rows), cache);
        TensorPrimitives.Add(x.TopElements(rows), _branch.TopElements(rows), _middle.TopElements(rows));

        _mlpNorm.Forward(context, _middle.Top(rows), _mlpInput.Top(rows));
        _mlp.Forward(context, _mlpInput.Top(rows), _branch.Top(rows));
        TensorPrimitives.Add(_middle.TopElements(rows), _branch.TopElements(rows), y.TopElements(rows));
    }

    /// <param name="context">Runs the operators.</param>
    /// <param name="batch">As in the forward pass.</param>
    /// <param name="x">The forward pass's input.</param>
    /// <param name="gradient">With respect to the output on entry, with respect to the input on return.</param>
    public void Backward(FusedContext context, BatchShape batch, Matrix x, Matrix gradient)
    {
        int rows = batch.Rows;
        _mlp.Backward(context, _mlpInput.Top(rows), gradient.Top(rows), _dBranch.Top(rows));
        _mlpNorm.Backward(context, _middle.Top(rows), _dBranch.Top(rows), _dBranch.Top(rows));
        AddBranch(gradient, rows);

        _attention.Backward(context, batch, _attentionInput.Top(rows), gradient.Top(rows), _dBranch.Top(rows));
        _attentionNorm.Backward(context, x.Top(rows), _dBranch.Top(rows), _dBranch.Top(rows));
        AddBranch(gradient, rows);
    }

    private void AddBranch(Matrix gradient, int rows) =>
        TensorPrimitives.Add(gradient.TopElements(rows), _dBranch.TopElements(rows), gradient.TopElements(rows));
}
