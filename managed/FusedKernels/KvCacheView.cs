using System.Numerics.Tensors;
using FusedKernels.Interop;
using Work = FusedKernels.Interop.KvCacheCall.Work;

namespace FusedKernels;

/// <summary>
/// A key-value cache in the caller's memory: the keys and values of B sequences' tokens so far, in pages of T tokens
/// (Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention", 2023). It is a view for
/// an object initialiser; <see cref="KvCache"/> is one with memory of its own.
/// </summary>
/// <remarks>
/// <para>A page lies in one of three pools, by its precision: f32, bf16, or int8 with a scale for each token and head, which
/// is the largest magnitude divided by 127. A pool that is not set has no pages; T, the heads G and the dimensions D and Dv
/// are one in all, each pool has its own number of pages P. Page numbers count through the f32 pool, then the bf16 pool,
/// then the int8 pool. Token t of sequence b lies in slot t % T of page <c>PageTable[b, t / T]</c>.</para>
/// <para>Inference only. Keys and values stay as they were stored: with <see cref="AttentionOptions.RotaryDims"/>, new keys
/// are rotated by their positions when they are appended, and queries when they attend. The same inputs give the same bits,
/// whatever the number of threads. Nothing is allocated on the managed heap.</para>
/// <para>Methods throw <see cref="ArgumentException"/> when a required array is not set, shapes or options do not fit or
/// outputs overlap, <see cref="ArgumentOutOfRangeException"/> when tokens have no room or a page is none of the pools',
/// <see cref="FusedKernelsException"/> when the workspace limit is too small or there is no memory,
/// <see cref="InvalidOperationException"/> when another thread uses the context, <see cref="ObjectDisposedException"/> when
/// it is disposed, and <see cref="OperationCanceledException"/> when the token is cancelled; outputs, and the cache behind
/// its lengths, are then unspecified.</para>
/// </remarks>
public ref struct KvCacheView
{
    /// <summary>[P, T, G, D]: keys of the pages in f32.</summary>
    public TensorSpan<float> KFloat { get; set; }

    /// <summary>[P, T, G, Dv]: values of the pages in f32.</summary>
    public TensorSpan<float> VFloat { get; set; }

    /// <summary>[P, T, G, D]: keys of the pages in bf16.</summary>
    public TensorSpan<BFloat16> KBFloat16 { get; set; }

    /// <summary>[P, T, G, Dv]: values of the pages in bf16.</summary>
    public TensorSpan<BFloat16> VBFloat16 { get; set; }

    /// <summary>[P, T, G, D]: keys of the pages in int8, to be multiplied by their scales.</summary>
    public TensorSpan<sbyte> KInt8 { get; set; }

    /// <summary>[P, T, G, Dv]: values of the pages in int8, to be multiplied by their scales.</summary>
    public TensorSpan<sbyte> VInt8 { get; set; }

    /// <summary>[P, T, G]: the scales of <see cref="KInt8"/>.</summary>
    public TensorSpan<float> KInt8Scales { get; set; }

    /// <summary>[P, T, G]: the scales of <see cref="VInt8"/>.</summary>
    public TensorSpan<float> VInt8Scales { get; set; }

    /// <summary>[B, M]: the pages of each sequence, in order; elements that a call does not come to may hold anything. Not
    /// set: sequence b's only page is page b.</summary>
    public ReadOnlyTensorSpan<int> PageTable { get; set; }

    /// <summary>[B]: the tokens of each sequence that are in the cache already. After an append the caller adds the number
    /// of new tokens.</summary>
    public ReadOnlySpan<int> Lengths { get; set; }

    /// <summary>Stores the keys and values of new tokens behind those that are there.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="newK">[B, Sn, G, D].</param>
    /// <param name="newV">[B, Sn, G, Dv].</param>
    /// <param name="options">Whether keys are rotated, and how; the rest is as for <see cref="Attend"/>.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">Tokens have no room, or a page is none of the pools'.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public readonly void Append(
        FusedContext context, ReadOnlyHeads newK, ReadOnlyHeads newV, AttentionOptions options = default,
        CancellationToken cancellationToken = default) =>
        Attend(context, new KvCacheTensors { NewK = newK, NewV = newV }, options, cancellationToken);

    /// <summary>
    /// Appends the new tokens, if there are any, and then attends with the queries to all tokens of their sequence, as
    /// <see cref="Attention"/> would. Few queries split the tokens over the threads (Dao et al., "Flash-Decoding", 2023).
    /// </summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The arrays.</param>
    /// <param name="options">Causality, windows, scale, softcap, length scale and rotation without offsets; the rest must be
    /// at its defaults.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">Tokens have no room, or a page is none of the pools'.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public readonly void Attend(
        FusedContext context, in KvCacheTensors tensors, AttentionOptions options = default,
        CancellationToken cancellationToken = default) =>
        KvCacheCall.Run(Work.Attend, context, this, tensors, options, cancellationToken: cancellationToken);

    /// <summary>Copies a page's keys and values, in the precision of the page that they go to: older pages can give up
    /// bits. Page table and lengths are not looked at.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="from">The page to copy.</param>
    /// <param name="to">The page to overwrite.</param>
    /// <exception cref="ArgumentException">Pools do not fit each other.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A page is none of the pools'.</exception>
    public readonly void CopyPage(FusedContext context, long from, long to) =>
        KvCacheCall.Run(Work.CopyPage, context, this, pages: (from, to));

    /// <summary>Bytes of workspace that <see cref="Attend"/> would take for these tensors under the context's
    /// limit.</summary>
    /// <param name="context">Where it would run.</param>
    /// <param name="tensors">The arrays.</param>
    /// <param name="options">The settings.</param>
    /// <returns>Bytes.</returns>
    /// <exception cref="ArgumentException">Shapes or options do not fit.</exception>
    public readonly long WorkspaceSize(FusedContext context, in KvCacheTensors tensors, AttentionOptions options = default) =>
        KvCacheCall.Run(Work.WorkspaceSize, context, this, tensors, options);
}
