namespace LanguageModel.Report;

/// <summary>What a process that trained with one loss head has measured.</summary>
/// <param name="Losses">Of every step.</param>
/// <param name="SecondsPerStep">Median over the steps but the first.</param>
/// <param name="LossSecondsPerStep">The loss's and its gradient's part of that, median too.</param>
/// <param name="PeakBytes">The process's peak resident memory.</param>
internal sealed record LossMeasurement(float[] Losses, double SecondsPerStep, double LossSecondsPerStep, long PeakBytes);
