using System.Diagnostics;

namespace LanguageModel.Training;

/// <summary>Turns a time into a number of steps before the run starts, so that the run itself depends on no clock.</summary>
internal static class StepBudget
{
    private const int WarmUpSteps = 2;
    private const int TimedSteps = 4;

    /// <summary>Evaluation, checkpoints, the comparison and the sample take what is left.</summary>
    private const double TrainingShare = 0.8;

    /// <summary>
    /// How many steps fit in the time, measured on steps that are thrown away: the caller resets the trainer.
    /// </summary>
    public static int Measure(Trainer trainer, TimeSpan time)
    {
        for (int i = 0; i < WarmUpSteps; i++)
        {
            trainer.Step();
        }

        Stopwatch stopwatch = Stopwatch.StartNew();
        for (int i = 0; i < TimedSteps; i++)
        {
            trainer.Step();
        }

        double secondsPerStep = stopwatch.Elapsed.TotalSeconds / TimedSteps;
        return (int)Math.Clamp(time.TotalSeconds * TrainingShare / secondsPerStep, 1, int.MaxValue);
    }
}
