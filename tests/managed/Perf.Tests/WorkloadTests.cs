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
        "cce f32 N1024 V32000 D2048 loss_and_gradient filtered",
        "cce bf16 N1024 V32000 D2048 forward",
        "cce f32 N1024 V32000 D2048 loss_and_gradient recompute",
        "cce f32 N512 V128256 D2048 forward",
        "cce f32 N512 V128256 D2048 loss_and_gradient exact",
        "cce f32 N512 V128256 D2048 loss_and_gradient filtered",
        "cce f32 N4096 V50257 D768 forward",
        "cce f32 N4096 V50257 D768 loss_and_gradient exact",
        "cce f32 N4096 V50257 D768 loss_and_gradient filtered",
        "cce f32 N1024 V256000 D2304 loss_and_gradient exact",
        "cce f32 V32000 D768 loss_and_gradient exact growth",
        "attention f32 B1 H8 S2048 d128 full forward",
        "attention f32 B1 H8 S2048 d128 full backward",
        "attention f32 B1 H12 S2048 d64 full forward",
        "attention f32 B1 H12 S2048 d64 full backward",
        "attention f32 B1 H12 S2048 d64 causal forward",
        "attention f32 B1 H12 S2048 d64 causal backward",
        "attention f32 B1 H1 S16384 d128 full forward",
        "attention f32 B1 H1 S16384 d128 window256 forward",
        "decode f32 B1 H32 KV8 K16384 d128",
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

    [TestMethod]
    public void LargeWorkIsTimedLessOftenButThreeTimesAtLeast()
    {
        Assert.AreEqual(7, CompareSettings.Full.RepetitionsOf(0));
        Assert.AreEqual(7, CompareSettings.Full.RepetitionsOf(0.4e12));
        Assert.AreEqual(4, CompareSettings.Full.RepetitionsOf(0.9e12));
        Assert.AreEqual(3, CompareSettings.Full.RepetitionsOf(100e12));
        Assert.AreEqual(1, CompareSettings.Quick.RepetitionsOf(0.8e12));
    }
}
