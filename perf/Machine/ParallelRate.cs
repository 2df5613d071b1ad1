using System.Diagnostics;

namespace FusedKernels.Perf.Machine;

/// <summary>Runs one loop on several threads at once and adds up their rates.</summary>
internal static class ParallelRate
{
    /// <summary>
    /// Every thread repeats its step for <paramref name="duration"/>, all released together. A thread's rate is its own
    /// work over its own time, so a thread that ends a little later does not lower the others' rate.
    /// </summary>
    /// <param name="threads">How many threads run.</param>
    /// <param name="duration">How long each thread repeats its step; a step that is under way is finished.</param>
    /// <param name="step">Does one step as the thread with the given index and returns the work it did.</param>
    /// <returns>Work per second, summed over the threads.</returns>
    public static double Sum(int threads, TimeSpan duration, Func<int, double> step)
    {
        double[] rates = new double[threads];
        using Barrier start = new(threads);
        Thread[] team = new Thread[threads];
        for (int i = 0; i < threads; i++)
        {
            int index = i;
            team[i] = new Thread(() => rates[index] = RateOfThread(start, duration, () => step(index)));
            team[i].Start();
        }

        foreach (Thread thread in team)
        {
            thread.Join();
        }

        return rates.Sum();
    }

    private static double RateOfThread(Barrier start, TimeSpan duration, Func<double> step)
    {
        start.SignalAndWait();
        _ = step(); // wakes the core's wide units and its clock before the timing starts
        double work = 0;
        Stopwatch watch = Stopwatch.StartNew();
        do
        {
            work += step();
        }
        while (watch.Elapsed < duration);
        return work / watch.Elapsed.TotalSeconds;
    }
}
