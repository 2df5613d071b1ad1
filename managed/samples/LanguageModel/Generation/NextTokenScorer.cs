using FusedKernels;
using LanguageModel.Model;

namespace LanguageModel.Generation;

/// <summary>Scores the token that follows a text, which grows at its end from call to call.</summary>
/// <remarks>
/// With a cache a call computes only the tokens that are new since the one before, without one all of them. The model reads
/// one context length at most: a longer text loses half of that at its start, again and again, and the tokens that are left
/// have new positions and are computed anew. That is once in half a context length, so it costs two or three tokens' work a
/// token; a start that moved with every token would throw the cache away at every token.
/// </remarks>
/// <param name="context">Runs the model.</param>
/// <param name="model">With room for batches of <paramref name="contextLength"/> rows.</param>
/// <param name="contextLength">Tokens that the model was trained to read at once; at least 2.</param>
/// <param name="cache">With room for as many tokens; null: none.</param>
internal sealed class NextTokenScorer(FusedContext context, Transformer model, int contextLength, TransformerCache? cache)
{
    private int _start;

    /// <param name="tokens">The text: that of the call before, if it was not forgotten, and at least one token more.</param>
    /// <param name="logits">[vocabulary]</param>
    /// <returns>How many tokens the model computed.</returns>
    public int Score(ReadOnlySpan<int> tokens, float[] logits)
    {
        int start = StartOfWindow(tokens.Length);
        if (start != _start)
        {
            Forget();
            _start = start;
        }

        ReadOnlySpan<int> unread = tokens[(start + (cache?.Length ?? 0))..];
        model.NextTokenLogits(context, unread, logits, cache);
        return unread.Length;
    }

    /// <summary>The next call brings another text.</summary>
    public void Forget()
    {
        cache?.Clear();
        _start = 0;
    }

    private int StartOfWindow(int length)
    {
        int step = contextLength / 2;
        int tooMany = Math.Max(0, length - contextLength);
        return (tooMany + step - 1) / step * step;
    }
}
