using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class StatisticsTests
{
    [TestMethod]
    [DataRow(new[] { 7.0 }, 7.0)]
    [DataRow(new[] { 3.0, 1.0, 2.0 }, 2.0)]
    [DataRow(new[] { 4.0, 1.0, 3.0, 2.0 }, 2.5)]
    [DataRow(new[] { 1.0, 1.0, 1000.0 }, 1.0)]
    public void MedianIsTheMiddle(double[] values, double expected) => Assert.AreEqual(expected, Statistics.Median(values));

    [TestMethod]
    public void MedianOfNothingIsRefused() => Assert.ThrowsExactly<ArgumentException>(() => Statistics.Median([]));

    [TestMethod]
    public void RatiosArePairedBeforeTheMedianIsTaken()
    {
        // The ratios are 2, 8 and 2.5; the quotient of the medians would be 8 / 3.
        Assert.AreEqual(2.5, Statistics.MedianOfRatios([6, 8, 10], [3, 1, 4]));
    }

    [TestMethod]
    public void UnpairedValuesAreRefused() =>
        Assert.ThrowsExactly<ArgumentException>(() => Statistics.MedianOfRatios([1, 2], [1]));

    [TestMethod]
    public void SpreadIsTheLargestOverTheSmallest()
    {
        Assert.AreEqual(1.25, Statistics.Spread([1.0, 0.8, 0.9]));
        Assert.AreEqual(1.0, Statistics.Spread([3.0]));
    }
}
