using FusedKernels.Perf.Machine;

namespace FusedKernels.Perf.Comparison;

/// <summary>A named unit of work of the comparison. <see cref="Workloads"/> lists them.</summary>
/// <param name="name">The name in the report, which stays the same from version to version.</param>
internal abstract class Workload(string name)
{
    /// <summary>The name in the report and for <c>--filter</c>.</summary>
    public string Name { get; } = name;

    /// <summary>The limits that the project sets itself.</summary>
    public IReadOnlyList<Demand> Demands { get; init; } = [];

    /// <summary>How many steps <see cref="Measure"/> reports through <see cref="ComparisonSession.Step"/>.</summary>
    public abstract int Steps(ComparisonSession session);

    /// <summary>Measures the workload, and the session's peers beside it.</summary>
    public abstract IReadOnlyList<Measurement> Measure(ComparisonSession session);

    /// <summary>Has the contestants take turns, round by round, so that each round's timings lie side by side.</summary>
    /// <param name="session">Receives a step per round.</param>
    /// <param name="work">The work of one round of the library's, which decides how many rounds there are.</param>
    /// <param name="loop">What is measured beside each timing.</param>
    /// <param name="contestants">Those that take turns.</param>
    protected static void TakeTurns(
        ComparisonSession session, double work, IMachineLoop loop, IReadOnlyList<Contestant> contestants)
    {
        for (int i = 0; i < session.Settings.RepetitionsOf(work); i++)
        {
            foreach (Contestant contestant in contestants)
            {
                contestant.TakeTurn(loop, session.Threads, session.Settings.LoopDuration);
            }

            session.Step();
        }
    }

    /// <summary>A figure of this workload with the demand that belongs to it.</summary>
    protected Measurement Report(
        string unit, double value, string? peer = null, double? peerValue = null, string detail = "") =>
        new(Name, value, unit, peer, peerValue)
        {
            Detail = detail,
            Demand = Demands.FirstOrDefault(demand => demand.Unit == unit),
        };
}
