using System.Numerics.Tensors;

namespace FusedKernels.Tests;

/// <summary>What attention says to arguments that do not fit: which one, what it got and what is allowed.</summary>
[TestClass]
public sealed class AttentionArgumentTests
{
    private delegate void Change(ref AttentionTensors tensors);

    [TestMethod, BackendData]
    public void MissingArraysAreNamedAsProperties(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AssertForwardRefused(context, (ref t) => t.Q = default, default, "Q is not set", "[B, Sq, H, D]");
        AssertForwardRefused(context, (ref t) => t.Q = (float[,,,]?)null, default, "Q is not set");
        AssertForwardRefused(context, (ref t) => t.K = default, default, "K is not set", "[B, Sk, G, D]");
        AssertForwardRefused(context, (ref t) => t.V = default, default, "V is not set", "[B, Sk, G, Dv]");
        AssertForwardRefused(context, (ref t) => t.Output = default, default, "Output is not set", "[B, Sq, H, Dv]");
        AssertBackwardRefused(context, (ref t) => t.Output = default, default, "Output is not set");
        AssertBackwardRefused(context, (ref t) => t.LogSumExp = default, default, "LogSumExp is not set", "forward pass");
        AssertBackwardRefused(context, (ref t) => t.DOutput = default, default, "DOutput is not set");
    }

    [TestMethod, BackendData]
    public void WhatComesInPairsIsNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AssertForwardRefused(context, (ref t) => t.QueryStarts = new int[2], default, "query_starts", "key_starts");
        AssertForwardRefused(context, (ref t) => t.KeyStarts = new int[2], default, "query_starts", "key_starts");
        AssertForwardRefused(
            context, (ref t) => t.QuerySegments = new(new int[2, 3]), default, "query_segments", "key_segments");
        AssertForwardRefused(context, (ref t) => t.PrefixLengths = new int[2], default, "prefix_lengths", "causal", "window");
        AssertBackwardRefused(
            context, (ref t) => t.DBias = new(new float[3, 4]), default, "d_bias", "needs NULL without bias");
        AssertBackwardRefused(context, (ref t) => t.DSinks = new float[2], default, "d_sinks", "needs NULL without sinks");
    }

    [TestMethod, BackendData]
    public void ShapesThatDoNotMatchAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AssertForwardRefused(context, (ref t) => t.K = new float[2, 4, 1, 6], default, "k", "6", "5");
        AssertForwardRefused(context, (ref t) => t.V = new float[2, 3, 1, 5], default, "v", "3", "4");
        AssertForwardRefused(
            context, (ref t) => { t.K = new float[2, 4, 3, 5]; t.V = new float[2, 4, 3, 5]; }, default, "q", "2 heads", "3");
        AssertForwardRefused(
            context, (ref t) => t.Q = new ReadOnlyTensorSpan<float>(new float[30], [2, 3, 5]), default, "q", "[B, Sq, H, D]");
        AssertForwardRefused(context, (ref t) => t.QueryLengths = new int[3], default, "query_lengths", "3", "2");
        AssertForwardRefused(context, (ref t) => t.Bias = new(new float[3, 5]), default, "bias", "5", "[2|1, 2|1, 3|1, 4]");
        AssertForwardRefused(context, (ref t) => t.Bias = new(new float[3, 2, 3, 4]), default, "bias", "3");
        AssertForwardRefused(
            context, (ref t) => t.Bias = new(new float[2, 1, 1, 3, 4]), default, "bias", "[2|1, 2|1, 3|1, 4]");
        AssertForwardRefused(context, (ref t) => t.Mask = new ReadOnlyTensorSpan<bool>(new bool[3, 3]), default, "mask", "3");
        AssertForwardRefused(
            context, (ref t) => t.BlockMask = new ReadOnlyTensorSpan<byte>(new byte[2, 1]), default, "block_mask", "2 x 1",
            "1 x 1");
        AssertForwardRefused(context, (ref t) => t.KeyBias = new(new float[5]), default, "key_bias", "5");
        AssertForwardRefused(context, (ref t) => t.AlibiSlopes = new(new float[3]), default, "alibi_slopes", "3");
        AssertForwardRefused(context, (ref t) => t.RelativeBias = new(new float[3, 2]), default, "relative_bias", "3", "even");
        AssertForwardRefused(context, (ref t) => t.AxialBiasX = new(new float[3, 3]), default, "axial_bias_x", "3");
        AssertForwardRefused(context, (ref t) => t.Sinks = new float[3], default, "sinks", "3");
        AssertForwardRefused(context, (ref t) => t.ToeplitzFactor = new(new float[7]), default, "toeplitz_factor", "7", "6");
        AssertForwardRefused(context, (ref t) => t.Output = new float[2, 3, 2, 4], default, "output", "4", "5");
        AssertForwardRefused(context, (ref t) => t.LogSumExp = new(new float[2, 3, 2]), default, "log_sum_exp", "[2, 2, 3]");
        AssertForwardRefused(context, (ref t) => t.MaxScore = new(new float[12]), default, "max_score", "[2, 2, 3]");
        AssertForwardRefused(context, (ref t) => t.Entropy = new(new float[2, 2, 4]), default, "entropy", "4", "3");
        AssertForwardRefused(context, (ref t) => t.KeyWeights = new(new float[2, 2, 3]), default, "key_weights", "3", "4");
        AssertBackwardRefused(context, (ref t) => t.DQ = new float[2, 3, 2, 4], default, "d_q", "4", "5");
        AssertBackwardRefused(context, (ref t) => t.DK = new float[2, 4, 2, 5], default, "d_k", "2", "1");
        AssertBackwardRefused(context, (ref t) => t.DV = new float[2, 3, 1, 5], default, "d_v", "3", "4");
        AssertBackwardRefused(
            context, (ref t) => { t.Bias = new(new float[3, 4]); t.DBias = new(new float[2, 1, 3, 4]); }, default, "d_bias",
            "[2, 1, 3, 4]", "[1, 1, 3, 4]", "bias");
        AssertBackwardRefused(
            context, (ref t) => t.DLogSumExp = new(new float[2, 3, 2]), default, "d_log_sum_exp", "[2, 2, 3]");
    }

    [TestMethod, BackendData]
    public void WhatAPassDoesNotGiveIsNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AssertForwardRefused(context, (ref t) => t.DOutput = new float[2, 3, 2, 5], default, "d_output", "forward");
        AssertForwardRefused(context, (ref t) => t.DQ = new float[2, 3, 2, 5], default, "d_q", "forward");
        AssertForwardRefused(context, (ref t) => t.DSinks = new float[2], default, "d_sinks", "forward");
        AssertBackwardRefused(context, (ref t) => t.MaxScore = new(new float[2, 2, 3]), default, "max_score", "backward");
        AssertBackwardRefused(context, (ref t) => t.Entropy = new(new float[2, 2, 3]), default, "entropy", "backward");
        AssertBackwardRefused(context, (ref t) => t.KeyWeights = new(new float[2, 2, 4]), default, "key_weights", "backward");
    }

    [TestMethod, BackendData]
    public void OptionsOutOfRangeAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        void AssertRefused(AttentionOptions options, string name, string value) => AssertForwardRefused(
            context, (ref t) => t.RelativeBias = new(new float[8, 2]), options, name, value);
        AssertRefused(new() { Scale = float.NaN }, "Scale", "NaN");
        AssertRefused(new() { Scale = float.PositiveInfinity }, "scale", "inf");
        AssertRefused(new() { Softcap = -2 }, "softcap", "-2");
        AssertRefused(new() { Alignment = (AttentionAlignment)2 }, "alignment", "2");
        AssertRefused(new() { LengthScaleBase = 1 }, "length_scale_base", "1");
        AssertRefused(new() { WindowLeft = -2 }, "window_left", "-2");
        AssertRefused(new() { WindowRight = -3 }, "window_right", "-3");
        AssertRefused(new() { MaskBlockRows = 0 }, "mask_block_rows", "0");
        AssertRefused(new() { MaskBlockColumns = -1 }, "mask_block_columns", "-1");
        AssertRefused(new() { RelativeMaxDistance = 2 }, "relative_max_distance", "2");
        AssertRefused(new() { Dropout = 1 }, "dropout", "1");
        AssertRefused(new() { RotaryDims = 3 }, "rotary_dims", "3");
        AssertRefused(new() { RotaryDims = 6 }, "rotary_dims", "6");
        AssertRefused(new() { RotaryBase = -1, RotaryDims = 2 }, "rotary_base", "-1");
        AssertRefused(new() { RotaryQueryOffset = long.MaxValue, RotaryDims = 2 }, "rotary_query_offset", "2^53");
        AssertRefused(new() { RotaryKeyOffset = long.MinValue, RotaryDims = 2 }, "rotary_key_offset", "2^53");
    }

    [TestMethod, BackendData]
    public void LengthsOutOfRangeNameTheirElement(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        void AssertOutOfRange(Change change, params string[] parts) => Messages.AssertNames(
            Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => Forward(context, change, AttentionOptions.Causal)), parts);
        AssertOutOfRange((ref t) => t.QueryLengths = (int[])[3, 4], "query_lengths", "element 1 is 4", "3");
        AssertOutOfRange((ref t) => t.KeyLengths = (int[])[-1, 4], "key_lengths", "element 0 is -1", "4");
        AssertOutOfRange((ref t) => t.PrefixLengths = (int[])[0, -2], "prefix_lengths", "element 1 is -2");
        AssertOutOfRange(
            (ref t) =>
            {
                t.Q = new float[1, 3, 2, 5];
                t.K = t.V = new float[1, 4, 1, 5];
                t.Output = new float[1, 3, 2, 5];
                t.QueryStarts = (int[])[0, 2, 3];
                t.KeyStarts = (int[])[0, 3, 2];
            },
            "key_starts", "element 2 is 2", "3 to 4");
    }

    [TestMethod, BackendData]
    public void OverlappingOutputsAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        float[,,,] one = new float[2, 3, 2, 5];
        AssertForwardRefused(context, (ref t) => { t.Q = one; t.Output = one; }, default, "output", "q", "overlap");
        float[,,] rows = new float[2, 2, 3];
        AssertForwardRefused(
            context, (ref t) => { t.LogSumExp = new(rows); t.Entropy = new(rows); }, default, "log_sum_exp", "entropy",
            "overlap");
        // A broadcast view is no place to write to.
        AssertForwardRefused(
            context, (ref t) => t.Output = new TensorSpan<float>(new float[5], 0, [2, 3, 2, 5], [0, 0, 0, 1]), default,
            "output", "share memory");
    }

    [TestMethod]
    public void RankIsNamed()
    {
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() =>
        {
            AttentionTensors tensors = new() { Q = new ReadOnlyTensorSpan<float>(new float[2, 2, 2, 2, 2]) };
        });
        Messages.AssertNames(error, "rank 5", "4");
    }

    private static void Forward(FusedContext context, Change change, AttentionOptions options)
    {
        AttentionTensors tensors = Inputs();
        change(ref tensors);
        Attention.Forward(context, tensors, options);
    }

    // B 2, Sq 3, Sk 4, H 2, G 1, D and Dv 5.
    private static AttentionTensors Inputs() => new()
    {
        Q = new float[2, 3, 2, 5], K = new float[2, 4, 1, 5], V = new float[2, 4, 1, 5], Output = new float[2, 3, 2, 5],
    };

    private static void AssertForwardRefused(
        FusedContext context, Change change, AttentionOptions options, params string[] parts) =>
        Messages.AssertNames(
            Assert.ThrowsExactly<ArgumentException>(() => Forward(context, change, options)), parts);

    private static void AssertBackwardRefused(
        FusedContext context, Change change, AttentionOptions options, params string[] parts)
    {
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() =>
        {
            AttentionTensors tensors = Inputs();
            tensors.LogSumExp = new(new float[2, 2, 3]);
            tensors.DOutput = new float[2, 3, 2, 5];
            change(ref tensors);
            Attention.Backward(context, tensors, options);
        });
        Messages.AssertNames(error, parts);
    }
}
