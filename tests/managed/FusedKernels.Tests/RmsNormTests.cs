using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class RmsNormTests
{
    [TestMethod, BackendData(1e-6f, 0f, 0.1f)]
    public void MatchesOracle(string backend, float epsilon)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (int rows in Sizes.Odd)
            foreach (int dim in Sizes.Odd)
                RunAndCompare(context, rows, dim, epsilon);
    }

    [TestMethod, BackendData]
    public void OutputMayBeTheInput(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix x = TestMatrix.Random(7, 33, 1), y = new(7, 33), d = TestMatrix.Random(7, 33, 2), dX = new(7, 33);
        float[] weight = Weight(33), inverseRms = new float[7];
        TestMatrix inPlace = x.Clone();
        RmsNorm.Forward(context, x.Span, weight, y.Span, default, inverseRms);
        RmsNorm.Forward(context, inPlace.Span, weight, inPlace.Span);
        CollectionAssert.AreEqual(y.Bits(), inPlace.Bits());

        RmsNorm.Backward(context, x.Span, weight, inverseRms, d.Span, dX.Span, default);
        RmsNorm.Backward(context, x.Span, weight, inverseRms, d.Span, d.Span, default);
        CollectionAssert.AreEqual(dX.Bits(), d.Bits());
    }

    [TestMethod, BackendData]
    public void UnwantedGradientsAreLeftOut(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix x = TestMatrix.Random(9, 17, 1), dY = TestMatrix.Random(9, 17, 2), dX = new(9, 17), y = new(9, 17);
        float[] weight = Weight(17), inverseRms = new float[9], both = new float[17], alone = new float[17];
        RmsNorm.Forward(context, x.Span, weight, y.Span, default, inverseRms);
        RmsNorm.Backward(context, x.Span, weight, inverseRms, dY.Span, dX.Span, both);
        RmsNorm.Backward(context, x.Span, weight, inverseRms, dY.Span, default, alone);
        CollectionAssert.AreEqual(both, alone);
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            TestMatrix x = TestMatrix.Random(1000, 65, 1), dY = TestMatrix.Random(1000, 65, 2), y = new(1000, 65);
            TestMatrix dX = new(1000, 65);
            float[] inverseRms = new float[1000], dWeight = new float[65];
            RmsNorm.Forward(context, x.Span, Weight(65), y.Span, default, inverseRms);
            RmsNorm.Backward(context, x.Span, Weight(65), inverseRms, dY.Span, dX.Span, dWeight);
            return [.. y.Bits(), .. dX.Bits(), .. dWeight.Select(BitConverter.SingleToInt32Bits)];
        });

    [TestMethod, BackendData]
    public void BadArgumentsAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix x = TestMatrix.Random(2, 3, 1);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(
            () => RmsNorm.Forward(context, x.Span, new float[4], new TestMatrix(2, 3).Span));
        Messages.AssertNames(error, "weight", "4", "3");
        error = Assert.ThrowsExactly<ArgumentException>(() => RmsNorm.Forward(
            context, x.Span, new float[3], new TestMatrix(2, 3).Span, new RmsNormOptions { Epsilon = -1 }));
        Messages.AssertNames(error, "epsilon", "-1");
    }

    private static float[] Weight(int dim) => [.. Enumerable.Range(0, dim).Select(d => 1 + 0.125f * (d % 7) - 0.5f * (d % 3))];

    private static void RunAndCompare(FusedContext context, int rows, int dim, float epsilon)
    {
        string what = $"{rows} x {dim}";
        TestMatrix x = TestMatrix.Random(rows, dim, 1), y = new(rows, dim);
        TestMatrix dY = TestMatrix.Random(rows, dim, 2), dX = new(rows, dim);
        float[] weight = Weight(dim), inverseRms = new float[rows], dWeight = new float[dim];
        RmsNormOptions options = new() { Epsilon = epsilon };
        RmsNorm.Forward(context, x.Span, weight, y.Span, options, inverseRms);
        RmsNorm.Backward(context, x.Span, weight, inverseRms, dY.Span, dX.Span, dWeight, options);

        y.AssertGapsUntouched(what);
        dX.AssertGapsUntouched(what);
        // A sum of D squares (no cancellation), division, root and reciprocal; then a few products.
        double relative = Near.Gamma(dim + 8);
        Value[] expectedDWeight = new Value[dim];
        for (int row = 0; row < rows; row++)
        {
            double inverse = InverseRms(x, row, epsilon);
            Near.AssertNear(inverse, inverseRms[row], relative * inverse, $"inverseRms[{row}] of {what}");
            Value projection = default; // sum over d of dY * weight * x
            for (int d = 0; d < dim; d++) projection += Value.Term((double)dY[row, d] * weight[d] * x[row, d]);
            for (int d = 0; d < dim; d++)
            {
                double expected = x[row, d] * inverse * weight[d];
                Near.AssertNear(expected, y[row, d], relative * Math.Abs(expected), $"y[{row}, {d}] of {what}");

                Value gradient = inverse * Value.Term((double)dY[row, d] * weight[d])
                    + -Math.Pow(inverse, 3) * x[row, d] / dim * projection;
                // The second term takes the third power of inverseRms, and another sum over D.
                double bound = 4 * relative * gradient.Magnitude;
                Near.AssertNear(gradient.Sum, dX[row, d], bound, $"dX[{row}, {d}] of {what}");
                expectedDWeight[d] += Value.Term(dY[row, d] * x[row, d] * inverse);
            }
        }
        for (int d = 0; d < dim; d++)
            Near.AssertNear(
                expectedDWeight[d].Sum, dWeight[d], (relative + Near.Gamma(rows + 2)) * expectedDWeight[d].Magnitude,
                $"dWeight[{d}] of {what}");
    }

    private static double InverseRms(TestMatrix x, int row, double epsilon)
    {
        double squares = 0;
        for (int d = 0; d < x.Columns; d++) squares += (double)x[row, d] * x[row, d];
        return 1 / Math.Sqrt(squares / x.Columns + epsilon);
    }
}
