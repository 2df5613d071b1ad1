using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

/// <summary>A vocabulary in unequal shards gives what the whole one does.</summary>
[TestClass, RunOnEveryInstructionSet]
public sealed class CutCrossEntropyShardTests
{
    private const int Rows = 36, Classes = 143, Dims = 19;

    private static readonly int[][] Cuts = [[0, 100, 143], [0, 1, 66, 143], [0, 2, 9, 40, 41, 80, 142, 143]];

    [TestMethod, BackendData(2, 3, 7)]
    public void ShardsTogetherMatchTheWhole(string backend, int shards)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (LossReduction reduction in Enum.GetValues<LossReduction>())
            foreach (LossShape shape in (LossShape[])[LossShape.CrossEntropy, LossShape.Focal(2)])
                Compare(context, Cuts.Single(cut => cut.Length == shards + 1), Problem(reduction, shape));
    }

    [TestMethod, BackendData]
    public void ShardRefusesWhatItCannotKnow(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(4, 6, 3);
        float[] maximum = new float[4], sum = new float[4], target = new float[4];
        void AssertRefused(CutCrossEntropyOptions options, string name)
        {
            ArgumentException error = Assert.ThrowsExactly<ArgumentException>(
                () => CutCrossEntropy.Partial(context, problem.Inputs(), maximum, sum, target, options));
            Messages.AssertNames(error, name);
        }
        AssertRefused(new() { VocabularyOffset = 5, VocabularySize = 10 }, "vocabulary_size");
        AssertRefused(new() { VocabularyOffset = -1, VocabularySize = 10 }, "vocabulary_offset");
        AssertRefused(new() { VocabularySize = 10, LabelSmoothing = 0.1f }, "label_smoothing");
        CutCrossEntropyOptions shard = new() { VocabularySize = 10 };
        ArgumentException weights = Assert.ThrowsExactly<ArgumentException>(() => CutCrossEntropy.Partial(
            context, problem.Inputs() with { ClassWeights = new float[6] }, maximum, sum, target, shard));
        Messages.AssertNames(weights, "class_weights", "shard");
        ArgumentException loss = Assert.ThrowsExactly<ArgumentException>(
            () => CutCrossEntropy.Forward(context, problem.Inputs(), shard));
        Messages.AssertNames(loss, "shard");
        problem.Targets[2] = 10;
        ArgumentOutOfRangeException range = Assert.ThrowsExactly<ArgumentOutOfRangeException>(
            () => CutCrossEntropy.Partial(context, problem.Inputs(), maximum, sum, target, new() { VocabularySize = 10 }));
        Messages.AssertNames(range, "targets", "row 2 is 10");
    }

    [TestMethod, BackendData]
    public void PartialNamesAMismatch(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(4, 6, 3);
        float[] three = new float[3], four = new float[4], other = new float[4];
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(
            () => CutCrossEntropy.Partial(context, problem.Inputs(), four, three, other, new() { VocabularySize = 6 }));
        Messages.AssertNames(error, "sum", "3", "4");
        error = Assert.ThrowsExactly<ArgumentException>(
            () => CutCrossEntropy.Partial(context, problem.Inputs(), four, other, default, new() { VocabularySize = 6 }));
        Messages.AssertNames(error, "target", "0", "4");
    }

    [TestMethod, BackendData]
    public void MergeNamesAMismatch(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => CutCrossEntropy.Merge(
            context, new float[2, 3], new float[2, 4], new float[2, 3], new float[3]));
        Messages.AssertNames(error, "sum", "[2, 4]", "[2, 3]");
    }

    private static CutCrossEntropyProblem Problem(LossReduction reduction, LossShape shape) => new(Rows, Classes, Dims)
    {
        Options = new()
        {
            Reduction = reduction, LossShape = shape, Softcap = 5, LogitScale = 1.25f, ZLoss = 0.05f, Shift = 1,
        },
        SequenceLength = 12,
        Bias = [.. TestMatrix.Random(1, Classes, 4).Elements()],
        RowWeights = CutCrossEntropyProblem.Weights(Rows),
        GradLosses = reduction == LossReduction.None ? CutCrossEntropyProblem.Gradients(Rows) : null,
        GradLogSumExp = CutCrossEntropyProblem.Gradients(Rows),
    };

    private static void Compare(FusedContext context, int[] cuts, CutCrossEntropyProblem problem)
    {
        int shards = cuts.Length - 1;
        float[,] maximum = new float[shards, Rows], sum = new float[shards, Rows], target = new float[shards, Rows];
        for (int s = 0; s < shards; s++)
            CutCrossEntropy.Partial(
                context, Shard(problem, cuts[s], cuts[s + 1]), maximum.GetRowSpan(s), sum.GetRowSpan(s), target.GetRowSpan(s),
                ShardOptions(problem, cuts[s]));
        CutCrossEntropy.Merge(context, maximum, sum, target, problem.LogSumExp, problem.TargetLogProbability);

        CutCrossEntropyOracle oracle = new(problem);
        for (int row = 0; row < Rows; row++)
        {
            oracle.LogSumExp[row].AssertNear(problem.LogSumExp[row], $"logSumExp[{row}] of {shards} shards");
            oracle.TargetLogProbability[row].AssertNear(
                problem.TargetLogProbability[row], $"targetLogProbability[{row}] of {shards} shards");
        }
        AssertGradients(context, cuts, problem, oracle);
    }

    private static void AssertGradients(
        FusedContext context, int[] cuts, CutCrossEntropyProblem problem, CutCrossEntropyOracle oracle)
    {
        double dLogitScale = 0;
        double[,] dEmbeddings = new double[Rows, Dims];
        for (int s = 0; s + 1 < cuts.Length; s++)
        {
            CutCrossEntropyTensors tensors = Shard(problem, cuts[s], cuts[s + 1]);
            tensors.LogSumExp = problem.LogSumExp;
            tensors.TargetLogProbability = problem.TargetLogProbability;
            tensors.GradLosses = problem.GradLosses;
            tensors.GradLogSumExp = problem.GradLogSumExp;
            tensors.DEmbeddings = problem.DEmbeddings.Span;
            tensors.DClassifier = problem.DClassifier.Span.Slice(cuts[s], 0, cuts[s + 1] - cuts[s], Dims);
            tensors.DBias = problem.DBias.AsSpan(cuts[s]..cuts[s + 1]);
            tensors.WantDLogitScale = true;
            dLogitScale += CutCrossEntropy.Backward(context, tensors, ShardOptions(problem, cuts[s])).DLogitScale!.Value;
            for (int row = 0; row < Rows; row++)
                for (int d = 0; d < Dims; d++) dEmbeddings[row, d] += problem.DEmbeddings[row, d];
        }
        // The shards' sums were added in double; the oracle's bound covers any order of summation.
        for (int row = 0; row < Rows; row++)
            for (int d = 0; d < Dims; d++) problem.DEmbeddings[row, d] = (float)dEmbeddings[row, d];
        problem.AssertGradients(new CutCrossEntropyResult { DLogitScale = (float)dLogitScale }, oracle);
    }

    private static CutCrossEntropyOptions ShardOptions(CutCrossEntropyProblem problem, int offset) =>
        problem.Options with { VocabularyOffset = offset, VocabularySize = Classes };

    private static CutCrossEntropyTensors Shard(CutCrossEntropyProblem problem, int from, int to)
    {
        CutCrossEntropyTensors tensors = problem.Inputs();
        tensors.Classifier = problem.Classifier.Span.Slice(from, 0, to - from, Dims);
        tensors.Bias = problem.Bias.AsSpan(from..to);
        return tensors;
    }
}
