namespace FusedKernels.Tests.Oracles;

/// <summary>A sum in double, with the sum of its terms' absolute values, which bounds the rounding error of any order of
/// summation in float.</summary>
internal readonly record struct Value(double Sum, double Magnitude)
{
    public static Value operator +(Value left, Value right) => new(left.Sum + right.Sum, left.Magnitude + right.Magnitude);

    public static Value operator *(double factor, Value value) =>
        new(factor * value.Sum, Math.Abs(factor) * value.Magnitude);

    public static Value Term(double term) => new(term, Math.Abs(term));
}
