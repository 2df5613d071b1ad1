using System.Runtime.CompilerServices;
using FusedKernels.Interop;

namespace FusedKernels.Tests;

[TestClass]
public sealed class ReadOnlyMatrixTests
{
    [TestMethod]
    public void ArraysAndSpansOfEachTypeConvert()
    {
        float[,] floats = new float[5, 4];
        BFloat16[,] brains = new BFloat16[5, 4];
        Half[,] halves = new Half[5, 4];
        AssertIs(floats, ref floats[0, 0], DLDataType.Float32, 5, 4, 4);
        AssertIs(brains, ref brains[0, 0], DLDataType.BFloat16, 5, 4, 4);
        AssertIs(halves, ref halves[0, 0], DLDataType.Float16, 5, 4, 4);

        AssertIs(new Span2D<float>(floats).Slice(1, 2, 3, 2), ref floats[1, 2], DLDataType.Float32, 3, 2, 4);
        AssertIs(new Span2D<BFloat16>(brains).Slice(1, 2, 3, 2), ref brains[1, 2], DLDataType.BFloat16, 3, 2, 4);
        AssertIs(new Span2D<Half>(halves).Slice(1, 2, 3, 2), ref halves[1, 2], DLDataType.Float16, 3, 2, 4);
        AssertIs(new ReadOnlySpan2D<float>(floats).Slice(1, 2, 1, 2), ref floats[1, 2], DLDataType.Float32, 1, 2, 2);
        AssertIs(new ReadOnlySpan2D<BFloat16>(brains).Slice(0, 1, 2, 1), ref brains[0, 1], DLDataType.BFloat16, 2, 1, 4);
        AssertIs(new ReadOnlySpan2D<Half>(halves), ref halves[0, 0], DLDataType.Float16, 5, 4, 4);
    }

    [TestMethod]
    public void AMatrixWithoutRowsKeepsItsColumns()
    {
        ReadOnlyMatrix matrix = new float[0, 3];
        Assert.AreEqual((0, 3, true), (matrix.Height, matrix.Width, matrix.IsSet));
    }

    [TestMethod]
    public void NullAndDefaultAreNoMatrix()
    {
        Assert.IsFalse(default(ReadOnlyMatrix).IsSet);
        Assert.IsFalse(((ReadOnlyMatrix)(float[,]?)null).IsSet);
        Assert.IsFalse(((ReadOnlyMatrix)(Half[,]?)null).IsSet);
        Assert.IsFalse(((ReadOnlyMatrix)default(ReadOnlySpan2D<BFloat16>)).IsSet);
    }

    [TestMethod]
    public void IndicesOfEachTypeConvert()
    {
        int[] ints = [1, 2, 3];
        long[] longs = [1, 2, 3];
        AssertAre(ints, ref ints[0], DLDataType.Int32, 3);
        AssertAre(longs, ref longs[0], DLDataType.Int64, 3);
        AssertAre(ints.AsSpan(1), ref ints[1], DLDataType.Int32, 2);
        AssertAre(longs.AsSpan(1), ref longs[1], DLDataType.Int64, 2);
        AssertAre((ReadOnlySpan<int>)ints.AsSpan(2), ref ints[2], DLDataType.Int32, 1);
        AssertAre((ReadOnlySpan<long>)longs.AsSpan(2), ref longs[2], DLDataType.Int64, 1);
        Assert.IsTrue(((ReadOnlyIndices)ReadOnlySpan<int>.Empty).IsSet, "no rows is not the same as no indices");
        Assert.IsFalse(((ReadOnlyIndices)(long[]?)null).IsSet);
        Assert.IsFalse(default(ReadOnlyIndices).IsSet);
    }

    private static void AssertIs<T>(
        ReadOnlyMatrix matrix, ref T first, DLDataType type, int height, int width, int rowStride) where T : unmanaged
    {
        Assert.AreEqual((type, height, width, rowStride), (matrix.DataType, matrix.Height, matrix.Width, matrix.RowStride));
        Assert.IsTrue(Unsafe.AreSame(in matrix.GetPinnableReference(), in Unsafe.As<T, byte>(ref first)));
    }

    private static void AssertAre<T>(ReadOnlyIndices indices, ref T first, DLDataType type, int length) where T : unmanaged
    {
        Assert.AreEqual((type, length), (indices.DataType, indices.Length));
        Assert.IsTrue(Unsafe.AreSame(in indices.GetPinnableReference(), in Unsafe.As<T, byte>(ref first)));
    }
}
