using FusedKernels;

namespace LanguageModel.Model;

/// <summary>A causal language model: token embedding, blocks, final norm, and a classifier of its own (untied).</summary>
/// <remarks>All buffers are made once, for the largest batch; a step allocates nothing.</remarks>
internal sealed class Transformer
{
    private readonly ModelShape _shape;
    private readonly ILossHead _lossHead;
    private readonly Parameter _tokenEmbedding;
    private readonly Block[] _blocks;
    private readonly NormLayer _finalNorm;
    private readonly Parameter _classifier;

    /// <summary>The input of every block, and the last block's output.</summary>
    private readonly Matrix[] _residuals;
    private readonly Matrix _normalised;
    private readonly Matrix _gradient;

    /// <param name="shape">Sizes.</param>
    /// <param name="lossHead">Computes the loss from the final activations.</param>
    /// <param name="maxRows">Tokens in the largest batch.</param>
    public Transformer(ModelShape shape, ILossHead lossHead, int maxRows)
    {
        _shape = shape;
        _lossHead = lossHead;
        _tokenEmbedding = Parameters.Add("token_embedding", shape.Vocabulary, shape.Dim, InitialDeviation.Embedding);
        _blocks = [.. Enumerable.Range(0, shape.Layers).Select(i => new Block(Parameters, $"block{i}", shape, maxRows))];
        _finalNorm = new NormLayer(Parameters, "final_norm", shape.Dim, maxRows);
        _classifier = Parameters.Add("classifier", shape.Vocabulary, shape.Dim, InitialDeviation.Embedding);

        _residuals = [.. Enumerable.Range(0, shape.Layers + 1).Select(_ => new Matrix(maxRows, shape.Dim))];
        _normalised = new Matrix(maxRows, shape.Dim);
        _gradient = new Matrix(maxRows, shape.Dim);
    }

    public ParameterSet Parameters { get; } = new();

    /// <summary>The mean loss of predicting each target from its row's token and those before it; fills all gradients.</summary>
    public float LossAndGradient(FusedContext context, BatchShape batch, ReadOnlySpan<int> tokens, ReadOnlySpan<int> targets)
    {
        Forward(context, batch, tokens);
        float loss = _lossHead.LossAndGradient(
            context, _normalised.Top(batch.Rows), _classifier.Value.All, targets, _gradient.Top(batch.Rows), _classifier.Gradient.All);
        Backward(context, batch, tokens);
        return loss;
    }

    /// <summary>The sum of the losses of all targets but <see cref="ILossHead.Ignored"/>.</summary>
    public float Loss(FusedContext context, BatchShape batch, ReadOnlySpan<int> tokens, ReadOnlySpan<int> targets)
    {
        Forward(context, batch, tokens);
        return _lossHead.Loss(context, _normalised.Top(batch.Rows), _classifier.Value.All, targets);
    }

    /// <summary>A cache for <see cref="NextTokenLogits"/>.</summary>
    /// <param name="capacity">Tokens that there is room for.</param>
    /// <param name="precision">How keys and values are stored.</param>
    public TransformerCache NewCache(int capacity, KvPrecision precision) => new(_shape, capacity, precision);

    /// <summary>Scores [vocabulary] of the token that follows a single sequence.</summary>
    /// <param name="context">Runs the operators.</param>
    /// <param name="tokens">The sequence, or what follows the part of it that is in the cache; at least one token.</param>
    /// <param name="logits">The scores.</param>
    /// <param name="cache">Gets the tokens too, so that later calls need not compute them again; null: none.</param>
    public void NextTokenLogits(FusedContext context, ReadOnlySpan<int> tokens, float[] logits, TransformerCache? cache = null)
    {
        Forward(context, new BatchShape(1, tokens.Length), tokens, cache);
        Gemm.Multiply(
            context,
            _normalised.All.Slice(tokens.Length - 1, 0, 1, _shape.Dim),
            _classifier.Value.All,
            new(logits, 1, _shape.Vocabulary),
            new GemmOptions { TransposeB = true });
    }

    private void Forward(FusedContext context, BatchShape batch, ReadOnlySpan<int> tokens, TransformerCache? cache = null)
    {
        TokenEmbedding.Gather(context, _tokenEmbedding.Value.All, tokens, _residuals[0].Top(batch.Rows));
        for (int i = 0; i < _blocks.Length; i++)
        {
            _blocks[i].Forward(context, batch, _residuals[i], _residuals[i + 1], cache?[i]);
        }

        _finalNorm.Forward(context, _residuals[^1].Top(batch.Rows), _normalised.Top(batch.Rows));
    }

    /// <summary>From the gradient with respect to the normalised activations, in place through all layers.</summary>
    private void Backward(FusedContext context, BatchShape batch, ReadOnlySpan<int> tokens)
    {
        _finalNorm.Backward(context, _residuals[^1].Top(batch.Rows), _gradient.Top(batch.Rows), _gradient.Top(batch.Rows));
        for (int i = _blocks.Length - 1; i >= 0; i--)
        {
            _blocks[i].Backward(context, batch, _residuals[i], _gradient);
        }

        _tokenEmbedding.Gradient.Data.AsSpan().Clear();
        TokenEmbedding.ScatterAdd(context, _gradient.Top(batch.Rows), tokens, _tokenEmbedding.Gradient.All);
    }
}
