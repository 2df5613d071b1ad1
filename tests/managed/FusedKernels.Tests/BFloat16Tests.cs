namespace FusedKernels.Tests;

[TestClass]
public sealed class BFloat16Tests
{
    [TestMethod]
    public void EveryNumberComesBackFromFloat()
    {
        for (int bits = 0; bits <= ushort.MaxValue; bits++)
        {
            BFloat16 number = BFloat16.FromBits((ushort)bits);
            float wide = number;
            Assert.AreEqual((uint)bits << 16, BitConverter.SingleToUInt32Bits(wide));
            // A signalling NaN becomes quiet, with sign and payload as they were.
            int expected = float.IsNaN(wide) ? bits | 0x40 : bits;
            Assert.AreEqual(expected, ((BFloat16)wide).Bits, $"{bits:X4}");
        }
    }

    [TestMethod]
    public void BetweenNeighboursTheNearestIsTaken()
    {
        for (int bits = 0; bits < 0x7F80; bits++)
        {
            // Of the float patterns from a number to the next, those up to the middle go down; the middle itself goes to
            // even.
            Assert.AreEqual(bits, Round((uint)bits << 16 | 0x0001), $"{bits:X4} and a bit");
            Assert.AreEqual(bits, Round((uint)bits << 16 | 0x7FFF), $"{bits:X4}, below the middle");
            Assert.AreEqual(bits + (bits & 1), Round((uint)bits << 16 | 0x8000), $"{bits:X4}, in the middle");
            Assert.AreEqual(bits + 1, Round((uint)bits << 16 | 0x8001), $"{bits:X4}, above the middle");
            Assert.AreEqual(bits + 1, Round((uint)bits << 16 | 0xFFFF), $"{bits:X4}, below the next");
        }
    }

    [TestMethod]
    public void NaNStaysNaN()
    {
        // The payload's upper bits are all zero: dropping the lower ones alone would leave an infinity.
        Assert.IsTrue(float.IsNaN((BFloat16)BitConverter.UInt32BitsToSingle(0x7F800001)));
        Assert.AreEqual(0xFFC0, ((BFloat16)BitConverter.UInt32BitsToSingle(0xFF80FFFF)).Bits);
        Assert.AreEqual(0x7FFF, ((BFloat16)BitConverter.UInt32BitsToSingle(0x7FFFFFFF)).Bits);
        BFloat16 negative = BFloat16.FromBits(0xFFC0);
        Assert.AreEqual((BFloat16)float.NaN, negative, "NaN equals NaN, whatever its bits");
    }

    [TestMethod]
    public void LargestFloatsBecomeInfinite()
    {
        Assert.AreEqual(0x7F80, ((BFloat16)float.MaxValue).Bits);
        Assert.AreEqual(0xFF80, ((BFloat16)float.NegativeInfinity).Bits);
        Assert.AreEqual(0x7F80, ((BFloat16)(MathF.Pow(2, 127) * (2 - MathF.Pow(2, -8)))).Bits);
    }

    [TestMethod]
    public void ItComparesAndPrintsAsFloat()
    {
        BFloat16 zero = BFloat16.FromBits(0), minusZero = BFloat16.FromBits(0x8000), number = (BFloat16)1.5f;
        Assert.AreEqual(zero, minusZero);
        Assert.AreEqual(zero.GetHashCode(), minusZero.GetHashCode());
        Assert.AreNotEqual(zero, number);
        Assert.IsTrue(zero < number && number == 1.5f);
        Assert.IsFalse(number.Equals(1.5f), "another type is not equal, as with other numbers");
        Assert.AreEqual("1.5", number.ToString());
    }

    private static int Round(uint floatBits)
    {
        int positive = ((BFloat16)BitConverter.UInt32BitsToSingle(floatBits)).Bits;
        Assert.AreEqual(positive | 0x8000, ((BFloat16)BitConverter.UInt32BitsToSingle(floatBits | 0x8000_0000)).Bits);
        return positive;
    }
}
