using System.Diagnostics;
using System.Globalization;

namespace FusedKernels.Perf.Comparison;

/// <summary>
/// Peak resident memory of an operator beyond its inputs and outputs: the peak of a child process that runs it less the
/// peak of one that only allocates and touches its arguments. A child per figure, because a process's high-water mark
/// never falls, and the allocations of earlier work would hide in it.
/// </summary>
internal static class PeakMemory
{
    /// <summary>The hidden verb that makes this program such a child.</summary>
    public const string Verb = "memory-probe";

    /// <summary>The child's option to stop before the operator.</summary>
    public const string ArgumentsOnlyOption = "--arguments-only";

    /// <summary>
    /// Peak resident memory beyond inputs and outputs, in 10^6 bytes, from one pair of children. Two that do the same
    /// differ by a few hundred kB, from when the JIT's threads run.
    /// </summary>
    /// <param name="workload">A name that <see cref="Workloads.ForMemoryProbe"/> knows.</param>
    /// <param name="threads">Threads of the child's context.</param>
    public static double MegabytesBeyondArguments(string workload, int threads) =>
        (PeakBytesOfChild(workload, threads) - PeakBytesOfChild(workload, threads, ArgumentsOnlyOption)) / 1e6;

    /// <summary>What the child does: prints the peak of its resident memory in bytes.</summary>
    public static void RunProbe(OperatorWorkload workload, int threads, bool argumentsOnly)
    {
        using FusedContext context = FusedContext.Cpu(threads);
        Action run = workload.Prepare(context);
        if (!argumentsOnly)
        {
            run();
        }

        using Process self = Process.GetCurrentProcess();
        Console.WriteLine(self.PeakWorkingSet64.ToString(CultureInfo.InvariantCulture)); // VmHWM on Linux
        GC.KeepAlive(run);
    }

    private static double PeakBytesOfChild(string workload, int threads, params string[] options)
    {
        string? extension = OperatingSystem.IsWindows() ? ".exe" : null;
        string program = Path.ChangeExtension(typeof(PeakMemory).Assembly.Location, extension);
        string[] arguments = [Verb, workload, "--threads", threads.ToString(CultureInfo.InvariantCulture), .. options];
        using Process child = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        Task<string> errors = child.StandardError.ReadToEndAsync();
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        return child.ExitCode == 0
            ? double.Parse(output, CultureInfo.InvariantCulture)
            : throw new InvalidOperationException($"The memory probe of '{workload}' failed: {errors.Result.Trim()}");
    }
}
