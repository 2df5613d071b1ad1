using System.Diagnostics;

namespace FusedKernels.Perf.Comparison;

/// <summary>A workload that is one operator on arguments of its own.</summary>
/// <param name="name">The name in the report.</param>
/// <param name="work">See <see cref="Work"/>.</param>
/// <param name="prepare">See <see cref="Prepare"/>.</param>
internal abstract class OperatorWorkload(string name, double work, Func<FusedContext, Action> prepare) : Workload(name)
{
    /// <summary>What one run does, in the units of the machine's loop that it is measured against.</summary>
    public double Work => work;

    /// <summary>Allocates and touches inputs and outputs, nothing else, and returns what runs the operator once.</summary>
    public Action Prepare(FusedContext context) => prepare(context);

    /// <summary>Prepares the operator, and runs it once to warm up: pages, threads, workspace.</summary>
    /// <returns>What runs the operator once and returns the seconds that it took.</returns>
    public Func<double> PrepareTimer(FusedContext context)
    {
        Action run = Prepare(context);
        run();
        return () =>
        {
            long start = Stopwatch.GetTimestamp();
            run();
            return Stopwatch.GetElapsedTime(start).TotalSeconds;
        };
    }
}
