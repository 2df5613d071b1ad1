namespace LanguageModel.Data;

/// <summary>The validation tokens that every model predicts, so that their perplexities can be compared.</summary>
/// <remarks>
/// The stream is cut into windows of one context length. An n-gram model sees the one or two tokens before a token,
/// whatever window they are in; the transformer sees all earlier tokens of the window and nothing before it.
/// </remarks>
internal sealed class EvaluationSet
{
    private readonly int[] _stream;
    private readonly int[] _starts;

    /// <param name="stream">Tokens; the first is context only.</param>
    /// <param name="windowLength">Tokens that are predicted per window.</param>
    /// <param name="tokens">About how many tokens to predict: evenly spaced windows are chosen when there are more.</param>
    public EvaluationSet(int[] stream, int windowLength, long tokens)
    {
        _stream = stream;
        WindowLength = windowLength;
        int windows = (stream.Length - 1 + windowLength - 1) / windowLength;
        int chosen = (int)Math.Clamp(Math.Ceiling((double)tokens / windowLength), 1, windows);
        _starts = [.. Enumerable.Range(0, chosen).Select(i => (int)((long)i * windows / chosen) * windowLength)];
        TokenCount = _starts.Sum(start => Targets(start).Length);
    }

    public int WindowLength { get; }

    public int WindowCount => _starts.Length;

    public int TokenCount { get; }

    public ReadOnlySpan<int> WindowInputs(int window) => _stream.AsSpan(_starts[window], Targets(_starts[window]).Length);

    public ReadOnlySpan<int> WindowTargets(int window) => Targets(_starts[window]);

    /// <summary>The mean of the losses of the tokens to predict.</summary>
    /// <param name="tokenLosses">One for each token of the whole stream.</param>
    public double MeanLoss(ReadOnlySpan<double> tokenLosses)
    {
        double sum = 0;
        foreach (int start in _starts)
        {
            foreach (double loss in tokenLosses.Slice(start + 1, Targets(start).Length))
            {
                sum += loss;
            }
        }

        return sum / TokenCount;
    }

    private ReadOnlySpan<int> Targets(int start) =>
        _stream.AsSpan(start + 1, Math.Min(WindowLength, _stream.Length - start - 1));
}
