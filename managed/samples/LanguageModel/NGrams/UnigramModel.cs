namespace LanguageModel.NGrams;

/// <summary>Token frequencies alone, add-one smoothed: a token that training lacks must not have probability 0.</summary>
internal sealed class UnigramModel : INGramModel
{
    private readonly int[] _counts;
    private readonly double _total;

    /// <param name="stream">Training tokens; the first is context only and is not counted.</param>
    /// <param name="vocabularySize">Tokens are in [0, vocabularySize).</param>
    public UnigramModel(ReadOnlySpan<int> stream, int vocabularySize)
    {
        _counts = new int[vocabularySize];
        foreach (int token in stream[1..])
        {
            _counts[token]++;
        }

        _total = stream.Length - 1 + vocabularySize;
    }

    public string Name => "unigram";

    public double Probability(int beforePrevious, int previous, int token) => (_counts[token] + 1) / _total;
}
