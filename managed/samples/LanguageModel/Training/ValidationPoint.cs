namespace LanguageModel.Training;

/// <param name="StepsDone">Steps behind the model when it was validated.</param>
/// <param name="Loss">Mean over the validation tokens, in nats.</param>
internal readonly record struct ValidationPoint(int StepsDone, double Loss);
