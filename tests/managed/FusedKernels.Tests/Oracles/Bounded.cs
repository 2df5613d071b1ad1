namespace FusedKernels.Tests.Oracles;

/// <summary>
/// A value in double, with a bound on the error that a float evaluation of the same formula may have: a running error
/// analysis (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.3). So no test picks a tolerance;
/// every element gets its own from the numbers that went into it. u is <see cref="Near.Unit"/>.
/// </summary>
internal readonly record struct Bounded(double Value, double Error = 0)
{
    // A few units for exp and log, several times what the kernels state; 4 u absolute for tanh, which may come from an exp.
    private const double FunctionError = 8 * Near.Unit;

    // Results below float's normal range may come out as zero.
    private const double SmallestNormal = 1.2e-38;

    public static implicit operator Bounded(double exact) => new(exact);

    public static Bounded operator *(Bounded a, Bounded b)
    {
        double value = a.Value * b.Value;
        double carried = Math.Abs(a.Value) * b.Error + Math.Abs(b.Value) * a.Error + a.Error * b.Error;
        return new(value, carried + Near.Unit * (Math.Abs(value) + carried) + SmallestNormal);
    }

    public static Bounded operator /(Bounded a, Bounded b)
    {
        double value = a.Value / b.Value;
        double carried = (a.Error + Math.Abs(value) * b.Error) / (Math.Abs(b.Value) - b.Error);
        return new(value, carried + 2 * Near.Unit * (Math.Abs(value) + carried) + SmallestNormal);
    }

    // 3 u also covers an exp(a - b) that is evaluated as a power of 2: constant, product and difference round.
    public static Bounded operator +(Bounded a, Bounded b) => new(
        a.Value + b.Value, a.Error + b.Error + 3 * Near.Unit * (Math.Abs(a.Value) + Math.Abs(b.Value) + a.Error + b.Error));

    public static Bounded operator -(Bounded a, Bounded b) => a + new Bounded(-b.Value, b.Error);

    public static Bounded Exp(Bounded x)
    {
        double value = Math.Exp(x.Value);
        return new(value, value * (Math.Exp(x.Error) - 1 + FunctionError) + 2 * SmallestNormal);
    }

    public static Bounded Log(Bounded x)
    {
        double value = Math.Log(x.Value);
        return new(value, -Math.Log(1 - Math.Min(x.Error / x.Value, 0.5)) + FunctionError * (Math.Abs(value) + 1));
    }

    public static Bounded Tanh(Bounded x)
    {
        double value = Math.Tanh(x.Value);
        return new(value, x.Error + 4 * Near.Unit);
    }

    public static Bounded Pow(Bounded x, double exponent) => exponent == 0 ? 1 : Exp(exponent * Log(x));

    /// <summary>A sum in any order; 8 additions more than terms join blocks, or rescale a streaming soft-max.</summary>
    public static Bounded Sum(ReadOnlySpan<Bounded> terms)
    {
        BoundedSum sum = new();
        foreach (Bounded term in terms) sum.Add(term);
        return sum.Total;
    }

    /// <summary>A sum of n products of an exact and a bounded factor, without storing them.</summary>
    public static Bounded Dot(int n, Func<int, double> exact, Func<int, Bounded> bounded)
    {
        double value = 0, carried = 0, magnitude = 0;
        for (int i = 0; i < n; i++)
        {
            double factor = exact(i);
            Bounded other = bounded(i);
            value += factor * other.Value;
            carried += Math.Abs(factor) * other.Error;
            magnitude += Math.Abs(factor) * (Math.Abs(other.Value) + other.Error);
        }
        return new(value, carried + Near.Gamma(n + 8) * magnitude + n * SmallestNormal);
    }

    /// <summary>The last rounding is that of the result to float.</summary>
    public void AssertNear(float actual, string what) =>
        Near.AssertNear(Value, actual, Error + Near.Unit * Math.Abs(Value) + SmallestNormal, what);
}
