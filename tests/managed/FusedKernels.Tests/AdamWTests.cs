namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class AdamWTests
{
    private const int Steps = 3;

    [TestMethod, BackendData]
    public void MatchesOracle(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (int length in Sizes.Odd)
        {
            RunAndCompare(context, length, new AdamWOptions { Step = 0 });
            RunAndCompare(context, length, new AdamWOptions
            {
                Step = 0, LearningRate = 0.1f, Beta1 = 0.5f, Beta2 = 0.75f, Epsilon = 1e-3f, WeightDecay = 0.25f, GradientScale = 0.5f,
            });
            RunAndCompare(context, length, new AdamWOptions { Step = 0, Beta1 = 0, WeightDecay = 0 });
        }
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            float[] parameter = Random(100_003, 1), first = Random(100_003, 2), second = new float[100_003];
            AdamW.Step(context, parameter, Random(100_003, 3), first, second, new AdamWOptions { Step = 5 });
            return [.. parameter.Concat(first).Concat(second).Select(BitConverter.SingleToInt32Bits)];
        });

    [TestMethod, BackendData]
    public void BadArgumentsAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        float[] array = new float[4];
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => AdamW.Step(
            context, array, new float[3], new float[4], new float[4], new AdamWOptions { Step = 1 }));
        Messages.AssertNames(error, "gradient", "3", "4");
        error = Assert.ThrowsExactly<ArgumentException>(
            () => AdamW.Step(context, array, new float[4], new float[4], new float[4], default));
        Messages.AssertNames(error, "step", "0");
        error = Assert.ThrowsExactly<ArgumentException>(() => AdamW.Step(
            context, array, new float[4], new float[4], new float[4], new AdamWOptions { Step = 1, Beta2 = 1 }));
        Messages.AssertNames(error, "beta2", "1");
    }

    private static float[] Random(int length, int seed) => [.. TestMatrix.Random(1, length, seed).Elements()];

    private static void RunAndCompare(FusedContext context, int length, AdamWOptions options)
    {
        float[] parameter = Random(length, 1), firstMoment = new float[length], secondMoment = new float[length];
        double[] expected = [.. parameter.Select(value => (double)value)];
        double[] first = new double[length], second = new double[length];
        // What the updates may be off by; the moments and the quotient lose a few units each step.
        double[] bound = new double[length];
        for (int step = 1; step <= Steps; step++)
        {
            float[] gradient = Random(length, 10 + step);
            AdamW.Step(context, parameter, gradient, firstMoment, secondMoment, options with { Step = step });
            for (int i = 0; i < length; i++)
            {
                double g = (double)gradient[i] * options.GradientScale;
                first[i] = options.Beta1 * first[i] + (1 - options.Beta1) * g;
                second[i] = options.Beta2 * second[i] + (1 - options.Beta2) * g * g;
                double firstHat = first[i] / (1 - Math.Pow(options.Beta1, step));
                double secondHat = second[i] / (1 - Math.Pow(options.Beta2, step));
                expected[i] *= 1 - (double)options.LearningRate * options.WeightDecay;
                expected[i] -= options.LearningRate * firstHat / (Math.Sqrt(secondHat) + options.Epsilon);
                // |firstHat| / sqrt(secondHat) stays below 4 for three steps; 1 - beta2 = 0.001 is known to 60 units of 1.
                bound[i] += 4 * Near.Unit * Math.Abs(expected[i]) + 4 * 100 * Near.Unit * options.LearningRate;
                string what = $"[{i}] of {length} after step {step} with {options}";
                Near.AssertNear(expected[i], parameter[i], bound[i], $"parameter{what}");
                Near.AssertNear(first[i], firstMoment[i], 8 * step * Near.Unit, $"firstMoment{what}");
                Near.AssertNear(second[i], secondMoment[i], 8 * step * Near.Unit, $"secondMoment{what}");
            }
        }
    }
}
