namespace FusedKernels.Perf.Comparison;

/// <summary>The statistics of repeated timings.</summary>
internal static class Statistics
{
    /// <summary>The middle value, or the mean of the two middle ones.</summary>
    /// <exception cref="ArgumentException"><paramref name="values"/> is empty.</exception>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values];
        if (sorted.Length == 0)
        {
            throw new ArgumentException("The median needs at least one value.", nameof(values));
        }

        Array.Sort(sorted);
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>
    /// The median of <c>numerators[i] / denominators[i]</c>. Each pair was taken side by side, so what slows the machine
    /// down for a while slows both of a pair and cancels, which it would not in a quotient of two medians.
    /// </summary>
    /// <exception cref="ArgumentException">The lists differ in length, or are empty.</exception>
    public static double MedianOfRatios(IReadOnlyCollection<double> numerators, IReadOnlyCollection<double> denominators)
    {
        if (numerators.Count != denominators.Count)
        {
            throw new ArgumentException(
                $"Ratios need pairs, got {numerators.Count} numerators and {denominators.Count} denominators.",
                nameof(denominators));
        }

        return Median(numerators.Zip(denominators, (numerator, denominator) => numerator / denominator));
    }

    /// <summary>How far values lie apart: the largest over the smallest.</summary>
    /// <exception cref="InvalidOperationException"><paramref name="values"/> is empty.</exception>
    public static double Spread(IReadOnlyCollection<double> values) => values.Max() / values.Min();
}
