namespace LanguageModel.NGrams;

/// <summary>Interpolated, modified Kneser-Ney smoothing of trigrams.</summary>
/// <remarks>
/// Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1998, section 3: every order
/// gives up a discount (one for n-grams seen once, twice, and more often), and what it gives up goes to the next lower
/// order, whose counts are the numbers of different tokens that an n-gram follows. The lowest order falls back to the
/// uniform distribution, so that every token of the vocabulary has a probability.
/// </remarks>
internal sealed class KneserNeyTrigramModel : INGramModel
{
    private readonly NGramCounts _trigrams = new();
    private readonly NGramCounts _bigrams = new();
    private readonly NGramCounts _unigrams = new();
    private readonly double _uniform;

    /// <inheritdoc cref="UnigramModel(ReadOnlySpan{int}, int)"/>
    public KneserNeyTrigramModel(ReadOnlySpan<int> stream, int vocabularySize)
    {
        _uniform = 1.0 / vocabularySize;
        int beforePrevious = stream[0];
        for (int i = 1; i < stream.Length; i++)
        {
            int previous = stream[i - 1];
            int token = stream[i];

            // A lower order counts an n-gram once per different token that it follows.
            if (_trigrams.Add(beforePrevious, previous, token) && _bigrams.Add(0, previous, token))
            {
                _unigrams.Add(0, 0, token);
            }

            beforePrevious = previous;
        }

        _trigrams.EstimateDiscounts();
        _bigrams.EstimateDiscounts();
        _unigrams.EstimateDiscounts();
    }

    public string Name => "Kneser-Ney trigram";

    public double Probability(int beforePrevious, int previous, int token)
    {
        double unigram = _unigrams.Interpolate(0, 0, token, _uniform);
        double bigram = _bigrams.Interpolate(0, previous, token, unigram);
        return _trigrams.Interpolate(beforePrevious, previous, token, bigram);
    }
}
