using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class WorkloadTests
{
    // Figures of different versions are compared by these names: they never change.
    private static readonly string[] FixedNames =
    [
        "gemm f32 1024x8192x2304",
        "cce f32 N1024 V32000 D2048 forward",
        "cce f32 N1024 V32000 D2048 loss_and_gradient exact",
        "attention f32 B1 H8 S2048 d128 full forward",
        "attention f32 B1 H8 S2048 d128 full backward",
        "call_overhead empty",
        "call_overhead 1x1x1",
    ];

    [TestMethod]
    public void FixedNamesAreThereAndNamesAreUnique()
    {
        string[] names = [.. Workloads.All.Select(workload => workload.Name)];
        CollectionAssert.IsSubsetOf(FixedNames, names);
        CollectionAssert.AllItemsAreUnique(names);
    }

    [TestMethod]
    public void FilterPicksByPartOfTheNameInAnyCase()
    {
        Assert.AreEqual(Workloads.All.Count, Workloads.Matching(null).Count);
        CollectionAssert.AreEqual(
            FixedNames.Where(name => name.StartsWith("cce", StringComparison.Ordinal)).ToArray(),
            Workloads.Matching("CCE").Select(workload => workload.Name).ToArray());
    }

    [TestMethod]
    public void FilterThatMatchesNothingIsRefused()
    {
        string message = Assert.ThrowsExactly<ArgumentException>(() => Workloads.Matching("no such thing")).Message;
        StringAssert.Contains(message, "no such thing");
    }
}
