using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class RandomArraysTests
{
    private const int Count = 100_001; // odd: normal values come in pairs

    [TestMethod]
    public void NormalValuesHaveTheMomentsAndTheTailOfTheirDistribution()
    {
        double[] values = [.. RandomArrays.Normal(Count, 1, 0.5).Select(value => value / 0.5)];

        // Five standard errors: 1, sqrt(2) and sqrt(96) over the root of the count for moments 1, 2 and 4.
        double standardError = 1 / Math.Sqrt(Count);
        Assert.AreEqual(0, values.Average(), 5 * standardError);
        Assert.AreEqual(1, values.Average(x => x * x), 5 * Math.Sqrt(2) * standardError);
        Assert.AreEqual(3, values.Average(x => x * x * x * x), 5 * Math.Sqrt(96) * standardError);
        // The share within one standard deviation, of variance p (1 - p) < 1 / 4.
        Assert.AreEqual(0.6827, values.Average(x => Math.Abs(x) < 1 ? 1.0 : 0), 5 * 0.5 * standardError);
        Assert.AreNotEqual(0.0, values[^1]);
    }

    [TestMethod]
    public void UniformValuesAreTheSameInBothTypesUpToRounding()
    {
        float[] values = RandomArrays.Uniform(Count, 1, 2);
        BFloat16[] rounded = RandomArrays.UniformBFloat16(Count, 1, 2);
        CollectionAssert.AreEqual(values.Select(value => (BFloat16)value).ToArray(), rounded);
        // The mean square of values of variance v is within 5 sqrt(4/5) v / sqrt(Count) of v.
        Assert.AreEqual(4, values.Average(x => x * x), 5 * Math.Sqrt(0.8) * 4 / Math.Sqrt(Count));
    }
}
