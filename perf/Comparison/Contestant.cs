using FusedKernels.Perf.Machine;

namespace FusedKernels.Perf.Comparison;

/// <summary>One of those that take turns on a workload: the library or a peer, with its timings.</summary>
/// <param name="name">The name in the report.</param>
/// <param name="time">Runs the workload once and returns the seconds that it took.</param>
internal sealed class Contestant(string name, Func<double> time)
{
    private readonly List<double> _seconds = [];
    private readonly List<double> _limits = [];

    /// <summary>The name in the report.</summary>
    public string Name { get; } = name;

    /// <summary>The median time in seconds.</summary>
    public double MedianSeconds => Statistics.Median(_seconds);

    /// <summary>The median of the machine's limit beside the timings, in work per second.</summary>
    public double MedianLimit => Statistics.Median(_limits);

    /// <summary>Peak resident memory beyond inputs and outputs in 10^6 bytes, where it was measured.</summary>
    public double? Megabytes { get; set; }

    /// <summary>Takes one timing between two runs of the machine's loop.</summary>
    public void TakeTurn(IMachineLoop loop, int threads, TimeSpan loopDuration)
    {
        double before = loop.Measure(threads, loopDuration);
        _seconds.Add(time());
        double after = loop.Measure(threads, loopDuration);
        _limits.Add((before + after) / 2);
    }

    /// <summary>The share of the machine's limit: the median over the timings, each with the limit beside it.</summary>
    /// <param name="work">The work of one run, in the units of the machine's loop.</param>
    public double ShareOfLimit(double work) => Statistics.MedianOfRatios([.. _seconds.Select(s => work / s)], _limits);

    /// <summary>This one's speed over the other's: the median over the turns, which both took side by side.</summary>
    public double SpeedOver(Contestant other) => Statistics.MedianOfRatios(other._seconds, _seconds);
}
