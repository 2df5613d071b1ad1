namespace LanguageModel.Report;

/// <summary>Shows how far training is.</summary>
internal interface ITrainingDisplay
{
    /// <summary>Runs the work, which reports after every step.</summary>
    void Run(int stepsDone, int totalSteps, Action<Action<TrainingStatus>> work);
}
