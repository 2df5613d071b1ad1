using System.Globalization;

namespace LanguageModel.Report;

/// <param name="StepsDone">Steps made, those before a resume included.</param>
/// <param name="TotalSteps">Steps of the whole run.</param>
/// <param name="Loss">Running mean of the training loss.</param>
/// <param name="TokensPerSecond">Since training started or was resumed.</param>
/// <param name="TimeLeft">At that speed.</param>
internal readonly record struct TrainingStatus(int StepsDone, int TotalSteps, double Loss, double TokensPerSecond, TimeSpan TimeLeft)
{
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"step {StepsDone}/{TotalSteps}  loss {Loss:F3}  {TokensPerSecond:N0} tokens/s  {Units.Duration(TimeLeft)} left");
}
