namespace FusedKernels.Tests.Oracles;

/// <summary>What <see cref="AttentionOracle"/> sums up.</summary>
internal sealed class AttentionGradients(AttentionProblem problem)
{
    private readonly Dictionary<TestArray, BoundedSum[]> _parameters = [];

    public Bounded[,,,] DQ { get; } = new Bounded[problem.Q.Batch, problem.Q.Sequence, problem.Q.Heads, problem.Q.Dim];

    public Bounded[,,,] DK { get; } = new Bounded[problem.K.Batch, problem.K.Sequence, problem.K.Heads, problem.K.Dim];

    public BoundedSum[,,,] DV { get; } = new BoundedSum[problem.V.Batch, problem.V.Sequence, problem.V.Heads, problem.V.Dim];

    /// <summary>One for each element of a bias, of sinks and the like.</summary>
    public BoundedSum[] Of(TestArray parameter) => _parameters.TryGetValue(parameter, out BoundedSum[]? sums)
        ? sums : _parameters[parameter] = new BoundedSum[parameter.Elements.Length];
}
