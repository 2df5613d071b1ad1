using System.Runtime.InteropServices;

namespace LanguageModel.NGrams;

/// <summary>Laplace's rule for pairs: p(w | v) = (count(v w) + 1) / (count(v) + V).</summary>
internal sealed class AddOneBigramModel : INGramModel
{
    private readonly Dictionary<(int Previous, int Token), int> _pairs = [];
    private readonly int[] _contexts;

    /// <inheritdoc cref="UnigramModel(ReadOnlySpan{int}, int)"/>
    public AddOneBigramModel(ReadOnlySpan<int> stream, int vocabularySize)
    {
        _contexts = new int[vocabularySize];
        for (int i = 1; i < stream.Length; i++)
        {
            _contexts[stream[i - 1]]++;
            CollectionsMarshal.GetValueRefOrAddDefault(_pairs, (stream[i - 1], stream[i]), out _)++;
        }
    }

    public string Name => "add-one bigram";

    public double Probability(int beforePrevious, int previous, int token) =>
        (_pairs.GetValueOrDefault((previous, token)) + 1.0) / (_contexts[previous] + _contexts.Length);
}
