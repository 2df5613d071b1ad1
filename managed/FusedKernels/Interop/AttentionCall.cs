namespace FusedKernels.Interop;

/// <summary>Pins the arrays of a call of <see cref="Attention"/>, describes them, and runs a pass on them.</summary>
internal static unsafe class AttentionCall
{
    internal enum Pass
    {
        Forward,
        Backward,
        WorkspaceSize,
    }

    /// <returns>Bytes of workspace of the two passes, when they are asked for.</returns>
    public static (long Forward, long Backward) Run(
        Pass pass, FusedContext context, in AttentionTensors tensors, in AttentionOptions options,
        CancellationToken cancellationToken = default)
    {
        Check(pass, tensors);
        const int Count = 38;
        DLTensor* descriptions = stackalloc DLTensor[Count];
        long* dimensions = stackalloc long[Count * TensorList.DimensionsPerTensor];
        TensorList list = new(descriptions, dimensions, Count);
        fixed (byte* q = tensors.Q, k = tensors.K, v = tensors.V, output = tensors.Output, dOutput = tensors.DOutput)
        fixed (byte* dQ = tensors.DQ, dK = tensors.DK, dV = tensors.DV, mask = tensors.Mask, blockMask = tensors.BlockMask)
        fixed (int* queryLengths = tensors.QueryLengths, keyLengths = tensors.KeyLengths)
        fixed (int* prefixLengths = tensors.PrefixLengths, queryStarts = tensors.QueryStarts, keyStarts = tensors.KeyStarts)
        fixed (int* querySegments = tensors.QuerySegments, keySegments = tensors.KeySegments)
        fixed (float* bias = tensors.Bias, keyBias = tensors.KeyBias, alibiSlopes = tensors.AlibiSlopes)
        fixed (float* relativeBias = tensors.RelativeBias, axialBiasX = tensors.AxialBiasX, axialBiasY = tensors.AxialBiasY)
        fixed (float* sinks = tensors.Sinks, toeplitzFactor = tensors.ToeplitzFactor)
        fixed (float* logSumExp = tensors.LogSumExp, maxScore = tensors.MaxScore, entropy = tensors.Entropy)
        fixed (float* keyWeights = tensors.KeyWeights, dLogSumExp = tensors.DLogSumExp)
        fixed (float* dBias = tensors.DBias, dKeyBias = tensors.DKeyBias, dAlibiSlopes = tensors.DAlibiSlopes)
        fixed (float* dRelativeBias = tensors.DRelativeBias, dAxialBiasX = tensors.DAxialBiasX)
        fixed (float* dAxialBiasY = tensors.DAxialBiasY, dSinks = tensors.DSinks, dToeplitzFactor = tensors.DToeplitzFactor)
        {
            AttentionTensorPointers pointers = new()
            {
                Q = list.Add(q, tensors.Q.View),
                K = list.Add(k, tensors.K.View),
                V = list.Add(v, tensors.V.View),
                QueryLengths = list.Add(queryLengths, tensors.QueryLengths),
                KeyLengths = list.Add(keyLengths, tensors.KeyLengths),
                PrefixLengths = list.Add(prefixLengths, tensors.PrefixLengths),
                QueryStarts = list.Add(queryStarts, tensors.QueryStarts),
                KeyStarts = list.Add(keyStarts, tensors.KeyStarts),
                QuerySegments = list.Add(querySegments, tensors.QuerySegments, rank: 2),
                KeySegments = list.Add(keySegments, tensors.KeySegments, rank: 2),
                Mask = list.Add(mask, tensors.Mask.View, rank: 4),
                BlockMask = list.Add(blockMask, tensors.BlockMask.View, rank: 4),
                Bias = list.Add(bias, tensors.Bias, rank: 4),
                KeyBias = list.Add(keyBias, tensors.KeyBias, rank: 3),
                AlibiSlopes = list.Add(alibiSlopes, tensors.AlibiSlopes, rank: 2),
                RelativeBias = list.Add(relativeBias, tensors.RelativeBias, rank: 2),
                AxialBiasX = list.Add(axialBiasX, tensors.AxialBiasX, rank: 4),
                AxialBiasY = list.Add(axialBiasY, tensors.AxialBiasY, rank: 4),
                Sinks = list.Add(sinks, tensors.Sinks),
                ToeplitzFactor = list.Add(toeplitzFactor, tensors.ToeplitzFactor, rank: 2),
                Output = list.Add(output, tensors.Output.View),
                LogSumExp = list.Add<float>(logSumExp, tensors.LogSumExp, rank: 3),
                MaxScore = list.Add<float>(maxScore, tensors.MaxScore, rank: 3),
                Entropy = list.Add<float>(entropy, tensors.Entropy, rank: 3),
                KeyWeights = list.Add<float>(keyWeights, tensors.KeyWeights, rank: 3),
                DOutput = list.Add(dOutput, tensors.DOutput.View),
                DLogSumExp = list.Add(dLogSumExp, tensors.DLogSumExp, rank: 3),
                DQ = list.Add(dQ, tensors.DQ.View),
                DK = list.Add(dK, tensors.DK.View),
                DV = list.Add(dV, tensors.DV.View),
                DBias = list.Add<float>(dBias, tensors.DBias, rank: 4),
                DKeyBias = list.Add<float>(dKeyBias, tensors.DKeyBias, rank: 3),
                DAlibiSlopes = list.Add<float>(dAlibiSlopes, tensors.DAlibiSlopes, rank: 2),
                DRelativeBias = list.Add<float>(dRelativeBias, tensors.DRelativeBias, rank: 2),
                DAxialBiasX = list.Add<float>(dAxialBiasX, tensors.DAxialBiasX, rank: 4),
                DAxialBiasY = list.Add<float>(dAxialBiasY, tensors.DAxialBiasY, rank: 4),
                DSinks = list.Add<float>(dSinks, tensors.DSinks),
                DToeplitzFactor = list.Add<float>(dToeplitzFactor, tensors.DToeplitzFactor, rank: 2),
            };
            if (pass == Pass.WorkspaceSize)
                return FusedKernelsInterop.AttentionWorkspaceSize(context, pointers, options);
            if (pass == Pass.Forward)
                FusedKernelsInterop.AttentionForward(context, pointers, options, cancellationToken);
            else
                FusedKernelsInterop.AttentionBackward(context, pointers, options, cancellationToken);
            return default;
        }
    }

    private static void Check(Pass pass, in AttentionTensors tensors)
    {
        TensorArguments.Require(tensors.Q.View.IsSet, nameof(tensors.Q), "[B, Sq, H, D] of float, BFloat16 or Half");
        TensorArguments.Require(tensors.K.View.IsSet, nameof(tensors.K), "[B, Sk, G, D] of float, BFloat16 or Half");
        TensorArguments.Require(tensors.V.View.IsSet, nameof(tensors.V), "[B, Sk, G, Dv] of float, BFloat16 or Half");
        if (pass == Pass.WorkspaceSize) return;
        TensorArguments.Require(
            tensors.Output.View.IsSet, nameof(tensors.Output), "[B, Sq, H, Dv] of float, BFloat16 or Half");
        if (pass == Pass.Forward) return;
        TensorArguments.Require(
            tensors.LogSumExp.Rank != 0, nameof(tensors.LogSumExp), "[B, H, Sq], what the forward pass wrote");
        TensorArguments.Require(
            tensors.DOutput.View.IsSet, nameof(tensors.DOutput), "[B, Sq, H, Dv] of float, BFloat16 or Half");
    }
}
