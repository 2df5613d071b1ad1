namespace FusedKernels.Tests.Support;

/// <summary>
/// A matrix whose rows lie apart: the gaps, and the elements before and after, are NaN, so that a kernel that reads them
/// gives NaN and one that writes them is found out.
/// </summary>
internal sealed class TestMatrix
{
    private const int Gap = 3, Margin = 5;
    private readonly float[] _storage;

    public TestMatrix(int rows, int columns)
    {
        Rows = rows;
        Columns = columns;
        _storage = new float[2 * Margin + rows * (columns + Gap)];
        Array.Fill(_storage, float.NaN);
    }

    public int Rows { get; }

    public int Columns { get; }

    public Span2D<float> Span => new(_storage, Margin, Rows, Columns, Gap);

    public ref float this[int row, int column] => ref _storage[Margin + row * (Columns + Gap) + column];

    /// <summary>Uniform in [-scale, scale].</summary>
    public static TestMatrix Random(int rows, int columns, int seed, float scale = 1)
    {
        TestMatrix matrix = new(rows, columns);
        Random random = new(seed);
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++)
                matrix[row, column] = scale * (2 * random.NextSingle() - 1);
        return matrix;
    }

    public TestMatrix Clone()
    {
        TestMatrix clone = new(Rows, Columns);
        _storage.CopyTo(clone._storage, 0);
        return clone;
    }

    /// <summary>Rounds every element to what the type can hold.</summary>
    public TestMatrix RoundTo(ElementType type)
    {
        for (int row = 0; row < Rows; row++)
            for (int column = 0; column < Columns; column++)
                this[row, column] = type switch
                {
                    ElementType.BFloat16 => (BFloat16)this[row, column],
                    ElementType.Half => (float)(Half)this[row, column],
                    _ => this[row, column],
                };
        return this;
    }

    /// <summary>The matrix as an argument: itself for float, else a copy in that type, whose rows lie apart as
    /// well.</summary>
    public ReadOnlyMatrix As(ElementType type) => type switch
    {
        ElementType.BFloat16 => new Span2D<BFloat16>(
            Array.ConvertAll(_storage, element => (BFloat16)element), Margin, Rows, Columns, Gap),
        ElementType.Half => new Span2D<Half>(
            Array.ConvertAll(_storage, element => (Half)element), Margin, Rows, Columns, Gap),
        _ => Span,
    };

    /// <summary>The elements' bits, for comparisons that admit no difference.</summary>
    public int[] Bits() => [.. Elements().Select(BitConverter.SingleToInt32Bits)];

    public IEnumerable<float> Elements() =>
        from row in Enumerable.Range(0, Rows)
        from column in Enumerable.Range(0, Columns)
        select this[row, column];

    public void AssertGapsUntouched(string what)
    {
        for (int i = 0; i < _storage.Length; i++)
        {
            int offset = i - Margin;
            bool isElement = offset >= 0 && offset < Rows * (Columns + Gap) && offset % (Columns + Gap) < Columns;
            if (!isElement && !float.IsNaN(_storage[i]))
                Assert.Fail($"{what}: element {offset} beside the matrix was overwritten with {_storage[i]}.");
        }
    }
}
