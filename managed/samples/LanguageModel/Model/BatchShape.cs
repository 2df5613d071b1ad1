namespace LanguageModel.Model;

/// <summary>A batch of token sequences of equal length; activations have one row per token.</summary>
internal readonly record struct BatchShape(int Sequences, int Length)
{
    public int Rows => Sequences * Length;
}
