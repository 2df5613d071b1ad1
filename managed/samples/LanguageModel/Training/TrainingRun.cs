using System.Diagnostics;
using LanguageModel.Report;
using LanguageModel.Data;

namespace LanguageModel.Training;

/// <summary>Trains to the last step or until it is interrupted; validates and saves on the way.</summary>
internal sealed class TrainingRun(Trainer trainer, TrainingSettings settings, TextData text, string checkpointPath, TrainingHistory history)
{
    private const int ValidationPoints = 20;
    private const int ShortestValidationInterval = 10;
    private const double RunningMeanWeight = 0.05;
    private static readonly TimeSpan SaveInterval = TimeSpan.FromMinutes(1);

    /// <summary>A hundredth of the trained tokens, so that all points of the curve together cost a few percent of the training.</summary>
    private readonly EvaluationSet _curveSet =
        new(text.Validation, settings.Context, Math.Max((long)settings.Steps * settings.TokensPerStep / 100, settings.TokensPerStep));

    private double _runningLoss = double.NaN;

    /// <returns>Whether the last step was made; a checkpoint is saved either way.</returns>
    public bool Train(ITrainingDisplay display, CancellationToken interrupted)
    {
        display.Run(trainer.StepsDone, settings.Steps, report => TrainSteps(report, interrupted));
        Save();
        return trainer.StepsDone == settings.Steps;
    }

    private void TrainSteps(Action<TrainingStatus> report, CancellationToken interrupted)
    {
        int validationInterval = Math.Max(ShortestValidationInterval, settings.Steps / ValidationPoints);
        int firstStep = trainer.StepsDone;
        Stopwatch stopwatch = Stopwatch.StartNew();
        Stopwatch sinceSave = Stopwatch.StartNew();
        while (trainer.StepsDone < settings.Steps && !interrupted.IsCancellationRequested)
        {
            float loss = trainer.Step();
            history.TrainingLosses.Add(loss);
            if (trainer.StepsDone % validationInterval == 0 || trainer.StepsDone == settings.Steps)
            {
                history.ValidationLosses.Add(new ValidationPoint(trainer.StepsDone, trainer.Evaluate(_curveSet)));
            }

            if (sinceSave.Elapsed > SaveInterval)
            {
                Save();
                sinceSave.Restart();
            }

            report(Status(loss, trainer.StepsDone - firstStep, stopwatch.Elapsed));
        }
    }

    private TrainingStatus Status(float loss, int steps, TimeSpan elapsed)
    {
        _runningLoss = double.IsNaN(_runningLoss) ? loss : _runningLoss + (RunningMeanWeight * (loss - _runningLoss));
        return new TrainingStatus(
            trainer.StepsDone,
            settings.Steps,
            _runningLoss,
            steps * (double)settings.TokensPerStep / elapsed.TotalSeconds,
            elapsed / steps * (settings.Steps - trainer.StepsDone));
    }

    private void Save() => Checkpoint.Save(
        checkpointPath,
        new CheckpointHeader
        {
            Settings = settings,
            TextFingerprint = text.Fingerprint,
            StepsDone = trainer.StepsDone,
            History = history,
            Parameters = Checkpoint.Entries(trainer.Model.Parameters),
        },
        trainer.Model.Parameters);
}
