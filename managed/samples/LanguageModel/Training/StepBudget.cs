using System.Diagnostics;

namespace LanguageModel.Training;

/// <summary>Turns a time into a number of steps before the run starts, so that the run itself depends on no clock.</summary>
internal static class StepBudget
{
    private const int WarmUpSteps = 2;
    private const int TimedSteps = 4;

    /// <summary>The comparison of the losses, the sample and these measurements together take about as long as this many steps.</summary>
    private const int OtherSteps = 60;

    /// <summary>The rest is validation, which takes about a sixth of the training's time, and checkpoints.</summary>
    private const double TrainingShare = 0.83;

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
        return (int)Math.Clamp(((time.TotalSeconds / secondsPerStep) - OtherSteps) * TrainingShare, 1, int.MaxValue);
    }
}
