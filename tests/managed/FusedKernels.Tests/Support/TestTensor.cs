using System.Buffers;
using System.Numerics.Tensors;

namespace FusedKernels.Tests.Support;

/// <summary>How a <see cref="TestTensor"/> lies in memory; its shape is [B, S, H, D] in every case.</summary>
internal enum TensorLayout
{
    /// <summary>Row-major without gaps.</summary>
    Contiguous,

    /// <summary>Stored as [B, H, S, D]: heads before sequence.</summary>
    HeadsFirst,

    /// <summary>One of three tensors that share each [S] row, as a packed QKV projection leaves them.</summary>
    Packed,
}

/// <summary>A tensor [B, S, H, D] in one of several layouts; the memory between its elements is NaN.</summary>
internal sealed class TestTensor
{
    private readonly float[] _storage;
    private readonly nint[] _lengths;
    private readonly nint[] _strides;

    public TestTensor(int batch, int sequence, int heads, int dim, TensorLayout layout = TensorLayout.Contiguous)
    {
        (Batch, Sequence, Heads, Dim) = (batch, sequence, heads, dim);
        _lengths = [batch, sequence, heads, dim];
        int row = layout == TensorLayout.Packed ? 3 * heads * dim : heads * dim;
        _strides = layout == TensorLayout.HeadsFirst
            ? [heads * sequence * dim, dim, sequence * dim, 1]
            : [sequence * row, row, dim, 1];
        _storage = new float[Math.Max(1, batch * sequence * row)];
        Array.Fill(_storage, float.NaN);
    }

    public int Batch { get; }

    public int Sequence { get; }

    public int Heads { get; }

    public int Dim { get; }

    // TensorSpan wants stride 0 along an extent of 1, and cannot describe an empty tensor with strides of its own.
    public TensorSpan<float> Span => _lengths.Contains(0)
        ? new(_storage, 0, _lengths, [])
        : new(_storage, 0, _lengths, [.. _strides.Select((stride, axis) => _lengths[axis] == 1 ? 0 : stride)]);

    /// <summary>Positions from a first one to before a last one.</summary>
    public TensorSpan<float> Tokens(int first, int last) =>
        first == last ? new TestTensor(Batch, 0, Heads, Dim).Span : Span.Slice([NRange.All, first..last, NRange.All, NRange.All]);

    /// <summary>A copy of one batch item.</summary>
    public TestTensor OfItem(int item)
    {
        TestTensor copy = new(1, Sequence, Heads, Dim);
        foreach ((int b, int s, int h, int d) in copy.Indices()) copy[b, s, h, d] = this[item, s, h, d];
        return copy;
    }

    public ref float this[int b, int s, int h, int d] =>
        ref _storage[(int)(b * _strides[0] + s * _strides[1] + h * _strides[2] + d)];

    /// <summary>Uniform in [-scale, scale].</summary>
    public static TestTensor Random(
        int batch, int sequence, int heads, int dim, int seed, TensorLayout layout = TensorLayout.Contiguous, float scale = 1)
    {
        TestTensor tensor = new(batch, sequence, heads, dim, layout);
        Random random = new(seed);
        foreach ((int b, int s, int h, int d) in tensor.Indices())
            tensor[b, s, h, d] = scale * (2 * random.NextSingle() - 1);
        return tensor;
    }

    /// <summary>Replaces each element by what a type stores of it.</summary>
    public TestTensor RoundTo(ElementType type)
    {
        new StoredHeads(this, type).CopyBack();
        return this;
    }

    public IEnumerable<(int B, int S, int H, int D)> Indices() =>
        from b in Enumerable.Range(0, Batch)
        from s in Enumerable.Range(0, Sequence)
        from h in Enumerable.Range(0, Heads)
        from d in Enumerable.Range(0, Dim)
        select (b, s, h, d);

    public int[] Bits() => [.. Indices().Select(i => BitConverter.SingleToInt32Bits(this[i.B, i.S, i.H, i.D]))];

    public void AssertGapsUntouched(string what)
    {
        int elements = Batch * Sequence * Heads * Dim;
        int written = _storage.Count(value => !float.IsNaN(value));
        Assert.IsLessThanOrEqualTo(elements, written, $"{what}: memory between the elements was overwritten");
    }
}
