using System.Runtime.InteropServices;

namespace LanguageModel.NGrams;

/// <summary>The counts of one order of n-grams, per context of at most two tokens, and the discounts taken from them.</summary>
internal sealed class NGramCounts
{
    private readonly Dictionary<(int First, int Second, int Token), int> _counts = [];
    private readonly Dictionary<(int First, int Second), Context> _contexts = [];
    private double _discountOnce;
    private double _discountTwice;
    private double _discountMore;

    /// <summary>Counts one occurrence. Orders with a shorter context pass 0 for what they lack.</summary>
    /// <returns>Whether it was the first.</returns>
    public bool Add(int first, int second, int token)
    {
        ref Context context = ref CollectionsMarshal.GetValueRefOrAddDefault(_contexts, (first, second), out _);
        ref int count = ref CollectionsMarshal.GetValueRefOrAddDefault(_counts, (first, second, token), out bool seen);
        count++;
        context.Count(count);
        return !seen;
    }

    /// <summary>
    /// The discounts that leave-one-out likelihood suggests (Chen and Goodman, equation 26), from the numbers of n-grams
    /// seen once to four times. Each must stay below its count; a text too small to have all four gets fixed ones.
    /// </summary>
    public void EstimateDiscounts()
    {
        Span<double> seen = stackalloc double[5];
        foreach (int count in _counts.Values)
        {
            if (count < seen.Length)
            {
                seen[count]++;
            }
        }

        double y = seen[1] / (seen[1] + (2 * seen[2]));
        double once = 1 - (2 * y * seen[2] / seen[1]);
        double twice = 2 - (3 * y * seen[3] / seen[2]);
        double more = 3 - (4 * y * seen[4] / seen[3]);
        (_discountOnce, _discountTwice, _discountMore) =
            once is > 0 and < 1 && twice is > 0 and < 2 && more is > 0 and < 3 ? (once, twice, more) : (0.5, 1, 1.5);
    }

    /// <summary>The discounted frequency of the token in its context, plus the discounted mass spread as the lower order says.</summary>
    public double Interpolate(int first, int second, int token, double lowerOrder)
    {
        if (!_contexts.TryGetValue((first, second), out Context context))
        {
            return lowerOrder;
        }

        int count = _counts.GetValueOrDefault((first, second, token));
        double freed = (_discountOnce * context.Once) + (_discountTwice * context.Twice) + (_discountMore * context.More);
        return (count - Discount(count) + (freed * lowerOrder)) / context.Total;
    }

    private double Discount(int count) => count switch
    {
        0 => 0,
        1 => _discountOnce,
        2 => _discountTwice,
        _ => _discountMore,
    };

    /// <summary>What follows a context: all occurrences, and how many different tokens did once, twice and more often.</summary>
    private struct Context
    {
        public int Total;
        public int Once;
        public int Twice;
        public int More;

        /// <summary>One of the tokens has reached this count.</summary>
        public void Count(int count)
        {
            Total++;
            Once += count == 1 ? 1 : count == 2 ? -1 : 0;
            Twice += count == 2 ? 1 : count == 3 ? -1 : 0;
            More += count == 3 ? 1 : 0;
        }
    }
}
