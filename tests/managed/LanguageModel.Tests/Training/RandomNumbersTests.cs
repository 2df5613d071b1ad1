using LanguageModel.Training;

namespace LanguageModel.Tests.Training;

[TestClass]
public sealed class RandomNumbersTests
{
    private const int Draws = 100_000;

    [TestMethod]
    public void Seed_and_stream_decide_the_numbers()
    {
        RandomNumbers a = new(1, 2), same = new(1, 2), otherSeed = new(2, 2), otherStream = new(1, 3);
        ulong first = a.NextUInt64();
        Assert.AreEqual(first, same.NextUInt64());
        Assert.AreNotEqual(first, otherSeed.NextUInt64());
        Assert.AreNotEqual(first, otherStream.NextUInt64());
    }

    [TestMethod]
    public void Gaussians_have_mean_0_and_variance_1()
    {
        RandomNumbers random = new(3, 0);
        double sum = 0, squares = 0;
        for (int i = 0; i < Draws; i++)
        {
            double x = random.NextGaussian();
            sum += x;
            squares += x * x;
        }

        // Five standard errors: 1/sqrt(n) of the mean, sqrt(2/n) of the variance.
        Assert.AreEqual(0, sum / Draws, 5 / Math.Sqrt(Draws));
        Assert.AreEqual(1, squares / Draws, 5 * Math.Sqrt(2.0 / Draws));
    }

    [TestMethod]
    public void Integers_are_uniform()
    {
        RandomNumbers random = new(4, 0);
        int[] counts = new int[10];
        for (int i = 0; i < Draws; i++)
        {
            counts[random.NextInt32(counts.Length)]++;
        }

        // Five standard deviations of a binomial count with p = 0.1.
        double expected = Draws / 10.0;
        foreach (int count in counts)
        {
            Assert.AreEqual(expected, count, 5 * Math.Sqrt(expected * 0.9));
        }
    }
}
