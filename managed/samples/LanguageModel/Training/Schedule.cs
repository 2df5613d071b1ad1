namespace LanguageModel.Training;

/// <summary>The learning rate of each step: a linear warm-up, then half a cosine down to a tenth of the peak.</summary>
/// <remarks>Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, without the restarts.</remarks>
internal sealed record Schedule(float Peak, int Steps)
{
    private const double FinalFraction = 0.1;
    private const int LongestWarmUp = 200;

    /// <summary>A tenth of the run, at most 200 steps.</summary>
    public int WarmUpSteps => Math.Clamp(Steps / 10, 1, LongestWarmUp);

    /// <param name="step">Counts from 0.</param>
    public float LearningRate(int step)
    {
        if (step < WarmUpSteps)
        {
            return (float)(Peak * (step + 1.0) / WarmUpSteps);
        }

        double progress = Math.Min(1, (step - WarmUpSteps + 1.0) / Math.Max(1, Steps - WarmUpSteps));
        return (float)(Peak * (FinalFraction + ((1 - FinalFraction) * 0.5 * (1 + Math.Cos(Math.PI * progress)))));
    }
}
