namespace LanguageModel.Report;

/// <summary>Plain lines, for a file or a pipe: about twenty in a run.</summary>
internal sealed class LineDisplay(TextWriter output) : ITrainingDisplay
{
    private const int Lines = 20;

    public void Run(int stepsDone, int totalSteps, Action<Action<TrainingStatus>> work)
    {
        int interval = Math.Max(1, totalSteps / Lines);
        work(status =>
        {
            if (status.StepsDone % interval == 0 || status.StepsDone == totalSteps)
            {
                output.WriteLine(status);
            }
        });
    }
}
