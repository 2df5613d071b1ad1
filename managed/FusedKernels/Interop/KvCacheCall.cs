namespace FusedKernels.Interop;

/// <summary>Pins the arrays of a <see cref="KvCacheView"/> and of a call with it, describes them, and runs it.</summary>
internal static unsafe class KvCacheCall
{
    internal enum Work
    {
        Attend,
        WorkspaceSize,
        CopyPage,
    }

    /// <returns>Bytes of workspace, when they are asked for.</returns>
    public static long Run(
        Work work, FusedContext context, in KvCacheView cache, in KvCacheTensors tensors = default,
        in AttentionOptions options = default, (long From, long To) pages = default,
        CancellationToken cancellationToken = default)
    {
        const int Count = 17;
        DLTensor* descriptions = stackalloc DLTensor[Count];
        long* dimensions = stackalloc long[Count * TensorList.DimensionsPerTensor];
        TensorList list = new(descriptions, dimensions, Count);
        fixed (float* kFloat = cache.KFloat, vFloat = cache.VFloat)
        fixed (BFloat16* kBFloat16 = cache.KBFloat16, vBFloat16 = cache.VBFloat16)
        fixed (sbyte* kInt8 = cache.KInt8, vInt8 = cache.VInt8)
        fixed (float* kInt8Scales = cache.KInt8Scales, vInt8Scales = cache.VInt8Scales)
        fixed (int* pageTable = cache.PageTable, lengths = cache.Lengths)
        fixed (byte* q = tensors.Q, newK = tensors.NewK, newV = tensors.NewV, output = tensors.Output)
        fixed (float* alibiSlopes = tensors.AlibiSlopes, sinks = tensors.Sinks, logSumExp = tensors.LogSumExp)
        {
            KvCachePointers cachePointers = new()
            {
                KFloat = list.Add<float>(kFloat, cache.KFloat, rank: 4),
                VFloat = list.Add<float>(vFloat, cache.VFloat, rank: 4),
                KBFloat16 = list.Add<BFloat16>(kBFloat16, cache.KBFloat16, rank: 4),
                VBFloat16 = list.Add<BFloat16>(vBFloat16, cache.VBFloat16, rank: 4),
                KInt8 = list.Add<sbyte>(kInt8, cache.KInt8, rank: 4),
                VInt8 = list.Add<sbyte>(vInt8, cache.VInt8, rank: 4),
                KInt8Scales = list.Add<float>(kInt8Scales, cache.KInt8Scales, rank: 3),
                VInt8Scales = list.Add<float>(vInt8Scales, cache.VInt8Scales, rank: 3),
                PageTable = list.Add(pageTable, cache.PageTable, rank: 2),
                Lengths = list.Add(lengths, cache.Lengths),
            };
            KvCacheTensorPointers pointers = new()
            {
                Q = list.Add(q, tensors.Q.View),
                NewK = list.Add(newK, tensors.NewK.View),
                NewV = list.Add(newV, tensors.NewV.View),
                AlibiSlopes = list.Add(alibiSlopes, tensors.AlibiSlopes, rank: 2),
                Sinks = list.Add(sinks, tensors.Sinks),
                Output = list.Add(output, tensors.Output.View),
                LogSumExp = list.Add<float>(logSumExp, tensors.LogSumExp, rank: 3),
            };
            if (work == Work.WorkspaceSize)
                return FusedKernelsInterop.KvCacheAttentionWorkspaceSize(context, cachePointers, pointers, options);
            if (work == Work.Attend)
                FusedKernelsInterop.KvCacheAttention(context, cachePointers, pointers, options, cancellationToken);
            else
                FusedKernelsInterop.KvCacheCopyPage(context, cachePointers, pages.From, pages.To);
            return 0;
        }
    }
}
