using System.Globalization;

namespace FusedKernels;

/// <summary>
/// A bfloat16 number: the upper half of a <see cref="float"/> (1 sign, 8 exponent and 7 fraction bits, 2 bytes). Storage
/// only; arithmetic is that of <see cref="float"/>, to which it converts by itself and without loss.
/// </summary>
public readonly struct BFloat16 : IEquatable<BFloat16>
{
    private BFloat16(ushort bits) => Bits = bits;

    /// <summary>The number's bits.</summary>
    public ushort Bits { get; }

    /// <summary>The number with these bits.</summary>
    /// <param name="bits">Sign, exponent and fraction.</param>
    /// <returns>The number.</returns>
    public static BFloat16 FromBits(ushort bits) => new(bits);

    /// <summary>The same number as a <see cref="float"/>; a NaN keeps its sign and payload.</summary>
    /// <param name="value">Any number.</param>
    public static implicit operator float(BFloat16 value) => BitConverter.UInt32BitsToSingle((uint)value.Bits << 16);

    /// <summary>
    /// Rounds to the nearest bfloat16, a tie to the one whose last bit is 0. From 2^128 - 2^119 on the result is infinite. A
    /// NaN stays a NaN, with its sign and the upper bits of its payload; it becomes quiet.
    /// </summary>
    /// <param name="value">Any number.</param>
    public static explicit operator BFloat16(float value)
    {
        const uint QuietBit = 0x0040, AlmostHalf = 0x7FFF;
        uint bits = BitConverter.SingleToUInt32Bits(value), upper = bits >> 16;
        // Adding half a unit carries into the upper bits where the number rounds up; an even one is spared half a bit of it.
        return new((ushort)(float.IsNaN(value) ? upper | QuietBit : (bits + AlmostHalf + (upper & 1)) >> 16));
    }

    /// <summary>Whether both are the same number, as <see cref="float.Equals(float)"/> has it: NaN equals NaN.</summary>
    /// <param name="other">The other number.</param>
    /// <returns>Whether they are equal.</returns>
    public bool Equals(BFloat16 other) => ((float)this).Equals(other);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is BFloat16 other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => ((float)this).GetHashCode();

    /// <summary>The number as text in the invariant culture.</summary>
    /// <returns>What <see cref="float"/> gives for it.</returns>
    public override string ToString() => ((float)this).ToString(CultureInfo.InvariantCulture);
}
