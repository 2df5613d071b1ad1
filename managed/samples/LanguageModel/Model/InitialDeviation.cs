namespace LanguageModel.Model;

/// <summary>Standard deviations of initial weights.</summary>
internal static class InitialDeviation
{
    /// <summary>Token embeddings and classifier: small, so that the first predictions are near uniform.</summary>
    public const float Embedding = 0.02f;

    /// <summary>Keeps the variance of a unit-variance input.</summary>
    public static float Inner(int inputs) => 1 / MathF.Sqrt(inputs);

    /// <summary>Weights that add to the residual stream: 2 * layers of them share the variance (Radford et al., GPT-2, 2019).</summary>
    public static float Residual(int inputs, int layers) => 1 / MathF.Sqrt(inputs * 2f * layers);
}
