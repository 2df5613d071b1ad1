using LanguageModel.Training;

namespace LanguageModel.Tests.Training;

[TestClass]
public sealed class ScheduleTests
{
    [TestMethod]
    public void Warms_up_linearly_to_the_peak_and_falls_to_a_tenth()
    {
        Schedule schedule = new(2e-3f, 100);

        Assert.AreEqual(10, schedule.WarmUpSteps);
        Assert.AreEqual(2e-4f, schedule.LearningRate(0), 1e-9f);
        Assert.AreEqual(1e-3f, schedule.LearningRate(4), 1e-9f);
        Assert.AreEqual(2e-3f, schedule.LearningRate(9), 1e-9f);
        Assert.AreEqual(2e-4f, schedule.LearningRate(99), 1e-9f);

        // Half of the cosine is at 45 of the 90 steps after the warm-up: the mean of peak and tenth.
        Assert.AreEqual(1.1e-3f, schedule.LearningRate(54), 1e-9f);
    }

    [TestMethod]
    [DataRow(1)]
    [DataRow(2)]
    [DataRow(7)]
    [DataRow(5000)]
    public void Rises_then_falls_and_stays_positive(int steps)
    {
        Schedule schedule = new(1, steps);
        float[] rates = [.. Enumerable.Range(0, steps).Select(schedule.LearningRate)];

        Assert.IsTrue(rates.All(rate => rate is > 0 and <= 1));
        for (int i = 1; i < steps; i++)
        {
            Assert.AreEqual(i < schedule.WarmUpSteps, rates[i] > rates[i - 1], $"step {i}");
        }

        Assert.IsLessThanOrEqualTo(200, schedule.WarmUpSteps);
    }
}
