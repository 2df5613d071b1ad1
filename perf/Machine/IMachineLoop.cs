namespace FusedKernels.Perf.Machine;

/// <summary>A loop that reaches one of the machine's limits, to measure an operator against.</summary>
internal interface IMachineLoop
{
    /// <summary>The unit of a figure that is divided by this limit: <c>of_peak</c> or <c>of_bandwidth</c>.</summary>
    string Unit { get; }

    /// <summary>What the limit is called in the report.</summary>
    string Name { get; }

    /// <summary>Runs the loop on all <paramref name="threads"/> at once for about <paramref name="duration"/>.</summary>
    /// <returns>Work per second, of all threads together: flop/s or bytes/s.</returns>
    double Measure(int threads, TimeSpan duration);
}
