using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class PeakMemoryTests
{
    [TestMethod]
    public void ProbeFindsAKnownAllocation()
    {
        double expected = Workloads.MemoryProbeCheckBytes / 1e6;
        double measured = PeakMemory.MegabytesBeyondArguments(Workloads.MemoryProbeCheck.Name, 1);
        // Two .NET processes that do the same differ by a few hundred kB, from when the JIT's threads run.
        Assert.AreEqual(expected, measured, 4);
    }

    [TestMethod]
    public void MemoryAloneIsReportedWithItsDemand()
    {
        using ComparisonSession session = new(CompareSettings.Quick, 1);
        Workload workload = new MemoryWorkload(Workloads.MemoryProbeCheck) { Demands = [new Demand(Units.Megabytes, 70)] };

        Measurement figure = workload.Measure(session).Single();

        Assert.AreEqual(Workloads.MemoryProbeCheck.Name, figure.Name);
        Assert.AreEqual(Units.Megabytes, figure.Unit);
        Assert.AreEqual(Workloads.MemoryProbeCheckBytes / 1e6, figure.Value, 4);
        Assert.AreEqual(70.0, figure.Demand?.Limit);
    }

    [TestMethod]
    public void ProbeReportsWhyAChildFailed()
    {
        string message = Assert.ThrowsExactly<InvalidOperationException>(
            () => PeakMemory.MegabytesBeyondArguments("no such workload", 1)).Message;
        StringAssert.Contains(message, "no such workload");
    }
}
