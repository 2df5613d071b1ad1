using CommunityToolkit.HighPerformance;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Looks token ids up in a table of embeddings, and adds gradients back to the table.</summary>
public static class TokenEmbedding
{
    /// <summary>Copies rows: <c>output[n] = table[ids[n]]</c>.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="table">[V, D], f32.</param>
    /// <param name="ids">[N], each in [0, V).</param>
    /// <param name="output">[N, D], overwritten.</param>
    /// <exception cref="ArgumentException">Shapes do not match, or arrays overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is out of range; the message names the row.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static void Gather(
        FusedContext context, ReadOnlySpan2D<float> table, ReadOnlySpan<int> ids, Span2D<float> output) =>
        RunGather(context, table, ids, output);

    /// <inheritdoc cref="Gather(FusedContext, ReadOnlySpan2D{float}, ReadOnlySpan{int}, Span2D{float})"/>
    public static void Gather(
        FusedContext context, ReadOnlySpan2D<float> table, ReadOnlySpan<long> ids, Span2D<float> output) =>
        RunGather(context, table, ids, output);

    /// <summary>
    /// Adds rows: <c>dTable[ids[n]] += dOutput[n]</c> in the order of n. It is the gradient of <c>Gather</c>, added to what
    /// <paramref name="dTable"/> holds.
    /// </summary>
    /// <param name="context">Where to run.</param>
    /// <param name="dOutput">[N, D], f32.</param>
    /// <param name="ids">[N], each in [0, V).</param>
    /// <param name="dTable">[V, D], added to.</param>
    /// <exception cref="ArgumentException">Shapes do not match, or arrays overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is out of range; the message names the row.</exception>
    /// <exception cref="InvalidOperationException">Another thread uses <paramref name="context"/>.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="context"/> is disposed.</exception>
    public static void ScatterAdd(
        FusedContext context, ReadOnlySpan2D<float> dOutput, ReadOnlySpan<int> ids, Span2D<float> dTable) =>
        RunScatterAdd(context, dOutput, ids, dTable);

    /// <inheritdoc cref="ScatterAdd(FusedContext, ReadOnlySpan2D{float}, ReadOnlySpan{int}, Span2D{float})"/>
    public static void ScatterAdd(
        FusedContext context, ReadOnlySpan2D<float> dOutput, ReadOnlySpan<long> ids, Span2D<float> dTable) =>
        RunScatterAdd(context, dOutput, ids, dTable);

    private static unsafe void RunGather<TIndex>(
        FusedContext context, ReadOnlySpan2D<float> table, ReadOnlySpan<TIndex> ids, Span2D<float> output)
        where TIndex : unmanaged
    {
        const int Capacity = 2 * TensorBuilder.Matrix + TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* tableData = table, outputData = output)
        fixed (TIndex* idsData = ids)
        {
            DLTensor tableTensor = tensors.AddMatrix(tableData, table);
            DLTensor idsTensor = tensors.AddVector(idsData, ids.Length);
            DLTensor outputTensor = tensors.AddMatrix(outputData, output);
            FusedKernelsInterop.EmbeddingGather(context, &tableTensor, &idsTensor, &outputTensor);
        }
    }

    private static unsafe void RunScatterAdd<TIndex>(
        FusedContext context, ReadOnlySpan2D<float> dOutput, ReadOnlySpan<TIndex> ids, Span2D<float> dTable)
        where TIndex : unmanaged
    {
        const int Capacity = 2 * TensorBuilder.Matrix + TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* dOutputData = dOutput, dTableData = dTable)
        fixed (TIndex* idsData = ids)
        {
            DLTensor dOutputTensor = tensors.AddMatrix(dOutputData, dOutput);
            DLTensor idsTensor = tensors.AddVector(idsData, ids.Length);
            DLTensor dTableTensor = tensors.AddMatrix(dTableData, dTable);
            FusedKernelsInterop.EmbeddingScatterAdd(context, &dOutputTensor, &idsTensor, &dTableTensor);
        }
    }
}
