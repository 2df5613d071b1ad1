using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class GemmTests
{
    [TestMethod, BackendData("NN", "NT", "TN", "TT")]
    public void MatchesOracle(string backend, string transposes)
    {
        using FusedContext context = Backends.Create(backend);
        GemmOptions options = new() { TransposeA = transposes[0] == 'T', TransposeB = transposes[1] == 'T' };
        foreach ((int m, int n, int k) in Sizes.Triples())
            MultiplyAndCompare(context, m, n, k, options);
    }

    [TestMethod, BackendData(0f, 1f, -0.5f)]
    public void AddsToWhatCHolds(string backend, float beta)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (int size in Sizes.Odd)
            MultiplyAndCompare(context, size, size + 1, size + 2, new GemmOptions { Alpha = 2.5f, Beta = beta });
    }

    [TestMethod, BackendData]
    public void BetaZeroOverwritesNaN(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix c = new(5, 4); // NaN everywhere
        Gemm.Multiply(context, TestMatrix.Random(5, 3, 1).Span, TestMatrix.Random(3, 4, 2).Span, c.Span);
        Assert.IsFalse(c.Elements().Any(float.IsNaN));
    }

    [TestMethod, BackendData]
    public void DepthZeroScalesC(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix c = TestMatrix.Random(3, 4, 1);
        float[] expected = [.. c.Elements().Select(value => value * 0.5f)];
        Gemm.Multiply(
            context, new TestMatrix(3, 0).Span, new TestMatrix(0, 4).Span, c.Span, new GemmOptions { Beta = 0.5f });
        CollectionAssert.AreEqual(expected, c.Elements().ToArray());
    }

    [TestMethod, BackendData]
    public void EmptyResultIsAllowed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Gemm.Multiply(
            context, new TestMatrix(0, 3).Span, TestMatrix.Random(3, 4, 1).Span, new TestMatrix(0, 4).Span);
        Gemm.Multiply(context, default, default, default);
    }

    [TestMethod, BackendData]
    public void NaNAndInfinityFollowTheArithmetic(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix a = TestMatrix.Random(3, 5, 1), b = TestMatrix.Random(5, 4, 2), c = new(3, 4);
        a[0, 2] = float.NaN;
        a[1, 2] = float.PositiveInfinity;
        b[2, 0] = 2;
        Gemm.Multiply(context, a.Span, b.Span, c.Span);
        for (int column = 0; column < 4; column++)
        {
            Assert.IsTrue(float.IsNaN(c[0, column]), "a row with NaN is NaN");
            Assert.IsTrue(float.IsFinite(c[2, column]), "other rows are untouched by it");
        }
        Assert.AreEqual(float.PositiveInfinity, c[1, 0]);
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            TestMatrix c = TestMatrix.Random(129, 65, 3);
            Gemm.Multiply(
                context, TestMatrix.Random(129, 300, 1).Span, TestMatrix.Random(300, 65, 2).Span, c.Span,
                new GemmOptions { Beta = 1 });
            return c.Bits();
        });

    [TestMethod, BackendData]
    public void MismatchIsNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => Gemm.Multiply(
            context, TestMatrix.Random(2, 3, 1).Span, TestMatrix.Random(4, 5, 2).Span, new TestMatrix(2, 5).Span));
        Messages.AssertNames(error, "b", "3", "4");
    }

    [TestMethod, BackendData]
    public void OverlapIsRefused(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix square = TestMatrix.Random(4, 4, 1);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(
            () => Gemm.Multiply(context, square.Span, TestMatrix.Random(4, 4, 2).Span, square.Span));
        Messages.AssertNames(error, "c", "a", "overlap");
    }

    private static void MultiplyAndCompare(FusedContext context, int m, int n, int k, GemmOptions options)
    {
        TestMatrix a = options.TransposeA ? TestMatrix.Random(k, m, 1) : TestMatrix.Random(m, k, 1);
        TestMatrix b = options.TransposeB ? TestMatrix.Random(n, k, 2) : TestMatrix.Random(k, n, 2);
        TestMatrix before = TestMatrix.Random(m, n, 3), c = before.Clone();
        Gemm.Multiply(context, a.Span, b.Span, c.Span, options);

        c.AssertGapsUntouched($"c of {m} x {n} x {k}");
        for (int row = 0; row < m; row++)
            for (int column = 0; column < n; column++)
            {
                Value expected = GemmOracle.Element(a, b, before, options, row, column);
                // k products and k sums; alpha, beta and their sum are three more roundings.
                double bound = Near.Gamma(k + 3) * expected.Magnitude;
                Near.AssertNear(expected.Sum, c[row, column], bound, $"{m} x {n} x {k}, element [{row}, {column}]");
            }
    }
}
