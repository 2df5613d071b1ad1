using System.Numerics.Tensors;
using LanguageModel.Data;
using LanguageModel.Training;

namespace LanguageModel.Generation;

/// <summary>Draws tokens from the model's distribution, never the unknown token.</summary>
/// <remarks>
/// Nucleus sampling (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020): only the most likely tokens
/// that together reach <see cref="NucleusMass"/> are drawn.
/// </remarks>
/// <param name="vocabularySize">Number of tokens.</param>
/// <param name="temperature">Divides the scores; 0: always the most likely token.</param>
/// <param name="seed">The same seed draws the same tokens from the same scores.</param>
internal sealed class TokenSampler(int vocabularySize, double temperature, ulong seed)
{
    public const double DefaultTemperature = 0.8;
    private const double NucleusMass = 0.95;

    private readonly float[] _scores = new float[vocabularySize];
    private readonly int[] _candidates = new int[vocabularySize];
    private RandomNumbers _random = new(seed, RandomStream.Sampling);

    public int Draw(ReadOnlySpan<float> logits)
    {
        logits.CopyTo(_scores);
        _scores[Vocabulary.Unknown] = float.NegativeInfinity;
        return temperature == 0 ? TensorPrimitives.IndexOfMax<float>(_scores) : DrawFromNucleus();
    }

    private int DrawFromNucleus()
    {
        for (int i = 0; i < _candidates.Length; i++)
        {
            _candidates[i] = i;
        }

        // Ascending, so the best candidate is last.
        Array.Sort(_scores, _candidates);
        double largest = _scores[^1];
        double total = _scores.Sum(score => Math.Exp((score - largest) / temperature));

        double mass = 0;
        int nucleus = 0;
        while (nucleus < _scores.Length && mass < NucleusMass * total)
        {
            nucleus++;
            mass += Math.Exp((_scores[^nucleus] - largest) / temperature);
        }

        double left = _random.NextDouble() * mass;
        for (int rank = 1; rank < nucleus; rank++)
        {
            left -= Math.Exp((_scores[^rank] - largest) / temperature);
            if (left < 0)
            {
                return _candidates[^rank];
            }
        }

        return _candidates[^nucleus];
    }
}
