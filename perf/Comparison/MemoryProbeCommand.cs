using System.CommandLine;

namespace FusedKernels.Perf.Comparison;

/// <summary>The hidden verb that <see cref="PeakMemory"/> starts children with.</summary>
internal static class MemoryProbeCommand
{
    /// <summary>The verb with its options.</summary>
    public static Command Create()
    {
        Argument<string> workload = new("workload");
        Option<int> threads = CompareCommand.ThreadsOption();
        Option<bool> argumentsOnly = new(PeakMemory.ArgumentsOnlyOption);
        Command command = new(PeakMemory.Verb) { workload, threads, argumentsOnly };
        command.Hidden = true;
        command.SetAction(result => PeakMemory.RunProbe(
            Workloads.ForMemoryProbe(result.GetValue(workload)!), result.GetValue(threads), result.GetValue(argumentsOnly)));
        return command;
    }
}
