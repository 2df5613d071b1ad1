namespace LanguageModel.Training;

/// <summary>What the loss plot shows; a checkpoint holds it, so that a resumed run draws the whole curve.</summary>
internal sealed class TrainingHistory
{
    /// <summary>The loss of every step.</summary>
    public List<float> TrainingLosses { get; init; } = [];

    /// <summary>The validation loss after some steps.</summary>
    public List<ValidationPoint> ValidationLosses { get; init; } = [];
}
