using Spectre.Console;
using Spectre.Console.Rendering;

namespace LanguageModel.Report;

/// <summary>A progress bar, for a terminal.</summary>
internal sealed class BarDisplay : ITrainingDisplay
{
    public void Run(int stepsDone, int totalSteps, Action<Action<TrainingStatus>> work)
    {
        StatusColumn column = new();
        AnsiConsole.Progress().Columns(new ProgressBarColumn(), new PercentageColumn(), column).Start(progress =>
        {
            ProgressTask task = progress.AddTask("training", maxValue: totalSteps);
            task.Value = stepsDone;
            work(status =>
            {
                column.Text = status.ToString();
                task.Value = status.StepsDone;
            });
        });
    }

    private sealed class StatusColumn : ProgressColumn
    {
        public string Text { get; set; } = "";

        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) => new Text(Text);
    }
}
