namespace LanguageModel.NGrams;

/// <summary>A model that predicts a token from the two before it.</summary>
internal interface INGramModel
{
    string Name { get; }

    /// <summary>The probability of <paramref name="token"/> after <paramref name="previous"/>, which follows <paramref name="beforePrevious"/>.</summary>
    /// <remarks>Over all tokens of the vocabulary the probabilities sum to 1, and none is 0.</remarks>
    double Probability(int beforePrevious, int previous, int token);
}
