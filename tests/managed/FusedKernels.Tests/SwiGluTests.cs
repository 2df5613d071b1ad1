namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class SwiGluTests
{
    // Exponential, sum, reciprocal and three products; sixteen units leave room for the kernels' exp.
    private const double RelativeError = 16 * Near.Unit;

    [TestMethod, BackendData(1f, 30f, 200f)]
    public void MatchesOracle(string backend, float scale)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (int rows in Sizes.Odd)
            foreach (int dim in Sizes.Odd)
                RunAndCompare(context, rows, dim, scale);
    }

    [TestMethod, BackendData]
    public void OutputsMayBeInputs(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix gate = TestMatrix.Random(5, 33, 1), up = TestMatrix.Random(5, 33, 2), output = new(5, 33);
        TestMatrix dOutput = TestMatrix.Random(5, 33, 3), dGate = new(5, 33), dUp = new(5, 33);
        SwiGlu.Forward(context, gate.Span, up.Span, output.Span);
        TestMatrix inGate = gate.Clone(), inUp = up.Clone();
        SwiGlu.Forward(context, inGate.Span, up.Span, inGate.Span);
        SwiGlu.Forward(context, gate.Span, inUp.Span, inUp.Span);
        CollectionAssert.AreEqual(output.Bits(), inGate.Bits());
        CollectionAssert.AreEqual(output.Bits(), inUp.Bits());

        SwiGlu.Backward(context, gate.Span, up.Span, dOutput.Span, dGate.Span, dUp.Span);
        (inGate, inUp) = (gate.Clone(), up.Clone());
        SwiGlu.Backward(context, inGate.Span, inUp.Span, dOutput.Span, inGate.Span, inUp.Span);
        CollectionAssert.AreEqual(dGate.Bits(), inGate.Bits());
        CollectionAssert.AreEqual(dUp.Bits(), inUp.Bits());
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            TestMatrix output = new(500, 65);
            SwiGlu.Forward(
                context, TestMatrix.Random(500, 65, 1).Span, TestMatrix.Random(500, 65, 2).Span, output.Span);
            return output.Bits();
        });

    [TestMethod, BackendData]
    public void BadArgumentsAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix gate = TestMatrix.Random(2, 3, 1), up = TestMatrix.Random(2, 4, 2);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(
            () => SwiGlu.Forward(context, gate.Span, up.Span, new TestMatrix(2, 3).Span));
        Messages.AssertNames(error, "up", "4", "3");
        error = Assert.ThrowsExactly<ArgumentException>(
            () => SwiGlu.Backward(context, gate.Span, gate.Span, gate.Clone().Span, up.Span[.., ..3], up.Span[.., ..3]));
        Messages.AssertNames(error, "d_up", "d_gate", "overlap");
    }

    private static void RunAndCompare(FusedContext context, int rows, int dim, float scale)
    {
        TestMatrix gate = TestMatrix.Random(rows, dim, 1, scale), up = TestMatrix.Random(rows, dim, 2), output = new(rows, dim);
        TestMatrix dOutput = TestMatrix.Random(rows, dim, 3), dGate = new(rows, dim), dUp = new(rows, dim);
        SwiGlu.Forward(context, gate.Span, up.Span, output.Span);
        SwiGlu.Backward(context, gate.Span, up.Span, dOutput.Span, dGate.Span, dUp.Span);

        string what = $"{rows} x {dim}, scale {scale}";
        foreach (TestMatrix written in (TestMatrix[])[output, dGate, dUp]) written.AssertGapsUntouched(what);
        for (int row = 0; row < rows; row++)
            for (int d = 0; d < dim; d++)
            {
                double g = gate[row, d], u = up[row, d], arriving = dOutput[row, d];
                double sigmoid = 1 / (1 + Math.Exp(-g));
                AssertNear(g * sigmoid * u, 0, output[row, d], $"output[{row}, {d}] of {what}");
                AssertNear(arriving * g * sigmoid, 0, dUp[row, d], $"dUp[{row}, {d}] of {what}");
                // silu' = sigmoid + g * sigmoid * (1 - sigmoid), whose terms may cancel.
                double first = arriving * u * sigmoid, second = arriving * u * g * sigmoid * (1 - sigmoid);
                // 1 - sigmoid is off by one unit of 1, which counts where sigmoid is near 1.
                double cancelled = Math.Abs(arriving * u * g * sigmoid);
                AssertNear(first + second, Math.Abs(first) + Math.Abs(second) + cancelled, dGate[row, d],
                    $"dGate[{row}, {d}] of {what}");
            }
    }

    private static void AssertNear(double expected, double magnitude, float actual, string what)
    {
        // exp of a large argument rounds the argument too: its error grows by |gate| units, at most 200 here. Where sigmoid
        // is that small, values lie below 1e-36 and may be zero.
        double bound = RelativeError * Math.Max(Math.Abs(expected), magnitude) + 1e-36;
        Near.AssertNear(expected, actual, bound, what);
    }
}
