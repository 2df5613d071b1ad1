using FusedKernels;
using LanguageModel.Model;
using LanguageModel.Data;

namespace LanguageModel.Training;

/// <summary>A model, its data and its place in the schedule; one call makes one step.</summary>
internal sealed class Trainer
{
    private readonly FusedContext _context;
    private readonly TrainingSettings _settings;
    private readonly BatchSampler _sampler;
    private readonly int[] _inputs;
    private readonly int[] _targets;
    private Schedule _schedule;

    /// <param name="context">Runs the operators.</param>
    /// <param name="settings">Sizes and schedule.</param>
    /// <param name="vocabularySize">Token numbers in the stream are below it.</param>
    /// <param name="stream">Training tokens.</param>
    /// <param name="lossHead">As the settings ask, from <see cref="CreateLossHead"/>.</param>
    public Trainer(FusedContext context, TrainingSettings settings, int vocabularySize, int[] stream, ILossHead lossHead)
    {
        int rows = settings.TokensPerStep;
        _context = context;
        _settings = settings;
        _schedule = new Schedule(settings.LearningRate, settings.Steps);
        _sampler = new BatchSampler(stream, settings.Context, settings.Batch, settings.Seed);
        _inputs = new int[rows];
        _targets = new int[rows];
        Model = new Transformer(settings.ModelShape(vocabularySize), lossHead, rows);
        Reset(settings.Steps);
    }

    public Transformer Model { get; }

    public int StepsDone { get; private set; }

    public long TokensPerEpoch => _sampler.TokensPerEpoch;

    public static ILossHead CreateLossHead(TrainingSettings settings, int vocabularySize) => settings.Loss switch
    {
        LossKind.Cut => new CutLossHead(),
        _ => new MaterialisedLossHead(settings.TokensPerStep, vocabularySize),
    };

    /// <summary>Back to the initial parameters, for a run of this many steps.</summary>
    public void Reset(int steps)
    {
        _schedule = new Schedule(_settings.LearningRate, steps);
        Model.Parameters.Reset(_settings.Seed);
        StepsDone = 0;
    }

    /// <summary>To where the checkpoint was saved.</summary>
    public void Resume(Checkpoint checkpoint)
    {
        checkpoint.Restore(Model.Parameters);
        StepsDone = checkpoint.Header.StepsDone;
    }

    /// <summary>Learns from the next batch and returns its mean loss, measured before the update.</summary>
    public float Step()
    {
        _sampler.Fill(StepsDone, _inputs, _targets);
        float loss = Model.LossAndGradient(_context, new BatchShape(_settings.Batch, _settings.Context), _inputs, _targets);
        if (!float.IsFinite(loss))
        {
            throw new UserException($"The loss of step {StepsDone + 1} is {loss}; try a lower --lr than {_settings.LearningRate}.");
        }

        Model.Parameters.Update(_context, _schedule.LearningRate(StepsDone), StepsDone + 1);
        StepsDone++;
        return loss;
    }

    /// <summary>The mean loss over an evaluation set whose windows are one context long.</summary>
    public double Evaluate(EvaluationSet set)
    {
        double sum = 0;
        for (int first = 0; first < set.WindowCount; first += _settings.Batch)
        {
            int sequences = Math.Min(_settings.Batch, set.WindowCount - first);
            for (int i = 0; i < sequences; i++)
            {
                CopyPadded(set.WindowInputs(first + i), _inputs.AsSpan(i * _settings.Context, _settings.Context), Vocabulary.Boundary);
                CopyPadded(set.WindowTargets(first + i), _targets.AsSpan(i * _settings.Context, _settings.Context), ILossHead.Ignored);
            }

            BatchShape batch = new(sequences, _settings.Context);
            sum += Model.Loss(_context, batch, _inputs.AsSpan(0, batch.Rows), _targets.AsSpan(0, batch.Rows));
        }

        return sum / set.TokenCount;
    }

    private static void CopyPadded(ReadOnlySpan<int> source, Span<int> destination, int padding)
    {
        source.CopyTo(destination);
        destination[source.Length..].Fill(padding);
    }
}
