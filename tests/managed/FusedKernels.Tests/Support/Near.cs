namespace FusedKernels.Tests.Support;

/// <summary>Comparisons with a derived bound.</summary>
internal static class Near
{
    /// <summary>The largest relative error of one rounding to float, 2^-24.</summary>
    public const double Unit = 1.0 / (1 << 24);

    /// <summary>The relative error of n roundings in a row, whatever their order (Higham, "Accuracy and Stability of
    /// Numerical Algorithms", 2002, lemma 3.1).</summary>
    public static double Gamma(int n) => n * Unit / (1 - n * Unit);

    public static void AssertNear(double expected, double actual, double bound, string what)
    {
        if (double.IsNaN(actual) || Math.Abs(expected - actual) > bound)
            Assert.Fail($"{what}: expected {expected:R}, got {actual:R}, which is off by {Math.Abs(expected - actual):E2}; " +
                $"the bound is {bound:E2}.");
    }
}
