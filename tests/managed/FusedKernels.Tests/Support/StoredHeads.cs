using System.Numerics.Tensors;

namespace FusedKernels.Tests.Support;

/// <summary>The elements of a <see cref="TestTensor"/> as another type.</summary>
internal sealed class StoredHeads
{
    private readonly ElementType _type;
    private readonly TestTensor _tensor;
    private readonly BFloat16[,,,]? _bFloat16;
    private readonly Half[,,,]? _half;

    public StoredHeads(TestTensor tensor, ElementType type)
    {
        (_tensor, _type) = (tensor, type);
        if (type == ElementType.BFloat16) _bFloat16 = new BFloat16[tensor.Batch, tensor.Sequence, tensor.Heads, tensor.Dim];
        if (type == ElementType.Half) _half = new Half[tensor.Batch, tensor.Sequence, tensor.Heads, tensor.Dim];
        foreach ((int b, int s, int h, int d) in tensor.Indices())
        {
            if (_bFloat16 is not null) _bFloat16[b, s, h, d] = (BFloat16)tensor[b, s, h, d];
            if (_half is not null) _half[b, s, h, d] = (Half)tensor[b, s, h, d];
        }
    }

    public Heads Heads => _type switch
    {
        ElementType.BFloat16 => _bFloat16,
        ElementType.Half => _half,
        _ => _tensor.Span,
    };

    /// <summary>Writes what is stored back to the tensor.</summary>
    public void CopyBack()
    {
        foreach ((int b, int s, int h, int d) in _tensor.Indices())
        {
            if (_bFloat16 is not null) _tensor[b, s, h, d] = _bFloat16[b, s, h, d];
            if (_half is not null) _tensor[b, s, h, d] = (float)_half[b, s, h, d];
        }
    }
}
