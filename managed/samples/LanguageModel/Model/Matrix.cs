using CommunityToolkit.HighPerformance;

namespace LanguageModel.Model;

/// <summary>A row-major matrix that is allocated once and used for every step.</summary>
internal sealed class Matrix(int rows, int columns)
{
    public float[] Data { get; } = new float[checked(rows * columns)];

    public int Rows => rows;

    public int Columns => columns;

    public Span2D<float> All => new(Data, rows, columns);

    /// <summary>The first rows: a batch may be smaller than the largest one.</summary>
    public Span2D<float> Top(int count) => new(Data, 0, count, columns, 0);

    public Span<float> TopElements(int count) => Data.AsSpan(0, count * columns);
}
