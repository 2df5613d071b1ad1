using FusedKernels.Perf.Machine;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class MachineLoopTests
{
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(5);

    [TestMethod]
    [DataRow("32768K\n", 32L << 20)]
    [DataRow("2M", 2L << 20)]
    [DataRow("512", 512L)]
    public void CacheSizesAreReadAsTheKernelWritesThem(string text, long bytes) =>
        Assert.AreEqual(bytes, ReadBandwidth.ParseSize(text));

    [TestMethod]
    public void RatesOfAllThreadsAreAdded()
    {
        int steps = 0;
        double rate = ParallelRate.Sum(3, Short, thread =>
        {
            Interlocked.Increment(ref steps);
            Thread.Sleep(1);
            return thread; // threads 0, 1 and 2 do 0, 1 and 2 units of work per step
        });

        Assert.IsGreaterThanOrEqualTo(6, steps, "each of the three threads warms up and takes a step");
        // A step sleeps for at least 1 ms, so that the three together do at most 3 units per millisecond.
        Assert.IsInRange(0.0, 3000.0, rate);
        Assert.IsGreaterThan(0.0, rate);
    }

    [TestMethod]
    public void FmaPeakIsBetweenOneFlopAndTwoVectorsPerCycle()
    {
        double flopsPerSecond = new FmaPeak().Measure(1, Short);
        // From a slow core that others share to two 512-bit FMAs (64 flop) per cycle of an 8 GHz core.
        Assert.IsInRange(1e8, 512e9, flopsPerSecond);
    }

    [TestMethod]
    public void BandwidthReadsABufferThatNoCacheHolds()
    {
        using ReadBandwidth loop = new();
        Assert.IsInRange(1e8, 2e12, loop.Measure(2, Short));
    }
}
