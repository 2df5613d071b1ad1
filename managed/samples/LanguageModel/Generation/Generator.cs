using FusedKernels;
using LanguageModel.Model;
using LanguageModel.Data;
using LanguageModel.Training;

namespace LanguageModel.Generation;

/// <summary>Lets the model write: one token after another, each drawn from the model's distribution.</summary>
/// <remarks>
/// Nucleus sampling (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020): only the most likely tokens
/// that together reach <see cref="NucleusMass"/> are drawn. The unknown token is never drawn.
/// </remarks>
internal sealed class Generator(FusedContext context, Transformer model, Vocabulary vocabulary, int contextLength, ulong seed)
{
    private const double Temperature = 0.8;
    private const double NucleusMass = 0.95;
    private const int LongestSentence = 60;

    private readonly float[] _logits = new float[vocabulary.Count];
    private readonly float[] _scores = new float[vocabulary.Count];
    private readonly int[] _candidates = new int[vocabulary.Count];
    private RandomNumbers _random = new(seed, RandomStream.Sampling);

    /// <summary>Sentences that start with the prompt ("" for none), each without regard to the others.</summary>
    public IEnumerable<string> Sentences(string prompt, int count)
    {
        int[] start = vocabulary.EncodeText(prompt);
        string[] words = [.. Tokeniser.Sentences(prompt).SelectMany(sentence => sentence.Split(' '))];
        for (int i = 0; i < count; i++)
        {
            yield return Tokeniser.Join(words.Concat(Continue(start).Select(token => vocabulary[token])));
        }
    }

    /// <summary>The tokens that the model puts after the start, up to the end of the sentence.</summary>
    private List<int> Continue(int[] start)
    {
        List<int> tokens = [Vocabulary.Boundary, .. start];
        while (tokens.Count - start.Length <= LongestSentence)
        {
            int[] window = [.. tokens.Skip(tokens.Count - contextLength)];
            model.NextTokenLogits(context, window, _logits);
            int token = Draw();
            if (token == Vocabulary.Boundary)
            {
                break;
            }

            tokens.Add(token);
        }

        return tokens[(1 + start.Length)..];
    }

    private int Draw()
    {
        _logits.CopyTo(_scores, 0);
        _scores[Vocabulary.Unknown] = float.NegativeInfinity;
        for (int i = 0; i < _candidates.Length; i++)
        {
            _candidates[i] = i;
        }

        // Ascending, so the best candidate is last.
        Array.Sort(_scores, _candidates);
        double largest = _scores[^1];
        double total = _scores.Sum(score => Math.Exp((score - largest) / Temperature));

        double mass = 0;
        int nucleus = 0;
        while (nucleus < _scores.Length && mass < NucleusMass * total)
        {
            nucleus++;
            mass += Math.Exp((_scores[^nucleus] - largest) / Temperature);
        }

        double left = _random.NextDouble() * mass;
        for (int rank = 1; rank < nucleus; rank++)
        {
            left -= Math.Exp((_scores[^rank] - largest) / Temperature);
            if (left < 0)
            {
                return _candidates[^rank];
            }
        }

        return _candidates[^nucleus];
    }
}
