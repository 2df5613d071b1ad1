namespace FusedKernels;

/// <summary>How a <see cref="KvCache"/> stores keys and values.</summary>
public enum KvPrecision
{
    /// <summary>4 bytes an element.</summary>
    Float,

    /// <summary>2 bytes an element, rounded to <see cref="FusedKernels.BFloat16"/>.</summary>
    BFloat16,

    /// <summary>1 byte an element, a whole number from -127 to 127, and 4 bytes for each token and head: its scale, the
    /// largest magnitude divided by 127.</summary>
    Int8,
}
