using LanguageModel.Data;

namespace LanguageModel.NGrams;

/// <summary>What an n-gram model makes of every validation token; the model itself, which is large, is gone by then.</summary>
/// <param name="Name">Of the model.</param>
/// <param name="TokenLosses">-log of the probability of each token of the validation stream; 0 for the first, which is context only.</param>
internal sealed record Baseline(string Name, double[] TokenLosses)
{
    /// <summary>Unigram, add-one bigram and Kneser-Ney trigram.</summary>
    public static IReadOnlyList<Baseline> MeasureAll(TextData text)
    {
        int size = text.Vocabulary.Count;
        return
        [
            Measure(new UnigramModel(text.Training, size), text.Validation),
            Measure(new AddOneBigramModel(text.Training, size), text.Validation),
            Measure(new KneserNeyTrigramModel(text.Training, size), text.Validation),
        ];
    }

    internal static Baseline Measure(INGramModel model, int[] stream)
    {
        double[] losses = new double[stream.Length];
        for (int i = 1; i < stream.Length; i++)
        {
            losses[i] = -Math.Log(model.Probability(stream[Math.Max(i - 2, 0)], stream[i - 1], stream[i]));
        }

        return new Baseline(model.Name, losses);
    }
}
