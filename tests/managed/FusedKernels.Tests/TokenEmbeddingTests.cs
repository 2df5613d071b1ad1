namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class TokenEmbeddingTests
{
    [TestMethod, BackendData]
    public void GatherCopiesRows(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        foreach ((int rows, int vocabulary, int dim) in Sizes.Triples())
        {
            TestMatrix table = TestMatrix.Random(vocabulary, dim, 1), output = new(rows, dim), other = new(rows, dim);
            int[] ids = Ids(rows, vocabulary);
            TokenEmbedding.Gather(context, table.Span, ids, output.Span);
            TokenEmbedding.Gather(context, table.Span, ids.Select(id => (long)id).ToArray(), other.Span);
            output.AssertGapsUntouched("output");
            CollectionAssert.AreEqual(output.Bits(), other.Bits());
            for (int row = 0; row < rows; row++)
                for (int d = 0; d < dim; d++)
                    Assert.AreEqual(table[ids[row], d], output[row, d], $"[{row}, {d}] of {rows} x {vocabulary} x {dim}");
        }
    }

    [TestMethod, BackendData]
    public void ScatterAddsInOrder(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        foreach ((int rows, int vocabulary, int dim) in Sizes.Triples())
        {
            TestMatrix dOutput = TestMatrix.Random(rows, dim, 1), dTable = TestMatrix.Random(vocabulary, dim, 2);
            TestMatrix expected = dTable.Clone(), other = dTable.Clone();
            int[] ids = Ids(rows, vocabulary);
            for (int row = 0; row < rows; row++)
                for (int d = 0; d < dim; d++)
                    expected[ids[row], d] += dOutput[row, d];
            TokenEmbedding.ScatterAdd(context, dOutput.Span, ids, dTable.Span);
            TokenEmbedding.ScatterAdd(context, dOutput.Span, ids.Select(id => (long)id).ToArray(), other.Span);
            dTable.AssertGapsUntouched("dTable");
            // The order is promised, so a float loop in that order has the same bits.
            CollectionAssert.AreEqual(expected.Bits(), dTable.Bits(), $"{rows} x {vocabulary} x {dim}");
            CollectionAssert.AreEqual(expected.Bits(), other.Bits());
        }
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            TestMatrix dTable = TestMatrix.Random(50, 65, 2);
            TokenEmbedding.ScatterAdd(context, TestMatrix.Random(3000, 65, 1).Span, Ids(3000, 50), dTable.Span);
            return dTable.Bits();
        });

    [TestMethod, BackendData(-1, 4)]
    public void IdOutOfRangeNamesItsRow(string backend, int id)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix table = TestMatrix.Random(4, 3, 1), rows = TestMatrix.Random(2, 3, 2);
        ArgumentOutOfRangeException error = Assert.ThrowsExactly<ArgumentOutOfRangeException>(
            () => TokenEmbedding.Gather(context, table.Span, (int[])[0, id], rows.Span));
        Messages.AssertNames(error, "ids", $"row 1 is {id}");

        int[] before = table.Bits();
        error = Assert.ThrowsExactly<ArgumentOutOfRangeException>(
            () => TokenEmbedding.ScatterAdd(context, rows.Span, (int[])[0, id], table.Span));
        Messages.AssertNames(error, "ids", $"row 1 is {id}");
        CollectionAssert.AreEqual(before, table.Bits(), "nothing is written when an argument is refused");
    }

    private static int[] Ids(int count, int vocabulary) =>
        [.. Enumerable.Range(0, count).Select(i => (int)(i * 2654435761L % vocabulary))];
}
