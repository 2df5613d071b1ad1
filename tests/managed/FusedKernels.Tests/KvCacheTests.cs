using System.Numerics.Tensors;
using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

/// <summary>Attention to a cache is attention to what the cache holds.</summary>
[TestClass, RunOnEveryInstructionSet]
public sealed class KvCacheTests
{
    private const int B = 2, H = 4, G = 2, D = 8, Dv = 6;

    [TestMethod, BackendData(KvPrecision.Float, KvPrecision.BFloat16, KvPrecision.Int8)]
    public void TokenByTokenIsAttention(string backend, object precision)
    {
        using FusedContext context = Backends.Create(backend);
        const int Prompt = 13, Capacity = 40;
        TestTensor k = TestTensor.Random(B, Capacity, G, D, 1), v = TestTensor.Random(B, Capacity, G, Dv, 2);
        KvCache cache = KvCache.Contiguous(B, Capacity, G, D, Dv, (KvPrecision)precision);
        cache.Append(context, k.Tokens(0, Prompt), v.Tokens(0, Prompt));
        for (int length = Prompt + 1; length <= Capacity; length++)
        {
            AttentionProblem step = new(B, 1, length, H, G, D, Dv);
            cache.Attend(
                context,
                new KvCacheTensors
                {
                    Q = step.Q.Span, NewK = k.Tokens(length - 1, length), NewV = v.Tokens(length - 1, length),
                    Output = step.Output.Span, LogSumExp = new(step.LogSumExp),
                });
            CollectionAssert.AreEqual((int[])[length, length], cache.Lengths.ToArray());
            foreach ((int b, int t, int g, int d) in step.K.Indices())
                step.K[b, t, g, d] = Stored(cache.View, isKey: true, b, t, g, d);
            foreach ((int b, int t, int g, int d) in step.V.Indices())
                step.V[b, t, g, d] = Stored(cache.View, isKey: false, b, t, g, d);
            step.AssertOutput(new AttentionOracle(step));
        }
        AssertStoredAsRounded(cache, k, v);
    }

    [TestMethod, BackendData("IsCausal", "WindowLeft", "WindowRight", "Scale", "Softcap", "LengthScaleBase", "RotaryDims",
        "RotaryInterleaved", "RotaryBase", "AlibiSlopes", "Sinks", "Everything")]
    public void OptionMatchesOracle(string backend, string option)
    {
        using FusedContext context = Backends.Create(backend);
        const int Prompt = 9, Length = 14, Queries = Length - Prompt;
        AttentionOptions options = option switch
        {
            "IsCausal" => AttentionOptions.Causal,
            "WindowLeft" => new() { WindowLeft = 3 },
            "WindowRight" => new() { WindowRight = 1 },
            "Scale" => new() { Scale = -0.4f },
            "Softcap" => new() { Softcap = 0.6f },
            "LengthScaleBase" => new() { LengthScaleBase = 2.5f, IsCausal = true },
            "RotaryDims" => new() { RotaryDims = 6 },
            "RotaryInterleaved" => new() { RotaryDims = 8, RotaryInterleaved = true },
            "RotaryBase" => new() { RotaryDims = 8, RotaryBase = 30 },
            "Everything" => new()
            {
                IsCausal = true, WindowLeft = 7, Scale = 0.4f, Softcap = 2, LengthScaleBase = 3, RotaryDims = 6,
            },
            _ => default,
        };
        AttentionProblem problem = new(B, Queries, Length, H, G, D, Dv)
        {
            Options = options,
            AlibiSlopes = option is "AlibiSlopes" or "Everything" ? TestArray.Random(5, 0.1f, 0.5f, B, H) : null,
            Sinks = option is "Sinks" or "Everything" ? TestArray.Random(6, 0, 2, H) : null,
        };
        KvCache cache = KvCache.Contiguous(B, Length, G, D, Dv);
        cache.Append(context, problem.K.Tokens(0, Prompt), problem.V.Tokens(0, Prompt), options);
        KvCacheTensors tensors = new()
        {
            Q = problem.Q.Span, NewK = problem.K.Tokens(Prompt, Length), NewV = problem.V.Tokens(Prompt, Length),
            Sinks = problem.Sinks?.Elements, Output = problem.Output.Span, LogSumExp = new(problem.LogSumExp),
        };
        if (problem.AlibiSlopes is not null) tensors.AlibiSlopes = problem.AlibiSlopes.Span;
        cache.Attend(context, tensors, options);
        problem.AssertOutput(new AttentionOracle(problem));
    }

    [TestMethod, BackendData(ElementType.Float, ElementType.BFloat16, ElementType.Half)]
    public void NewTokensOfAnyTypeAreStored(string backend, object type)
    {
        using FusedContext context = Backends.Create(backend);
        AttentionProblem problem = new(B, 3, 3, H, G, D, Dv, type: (ElementType)type);
        StoredHeads q = new(problem.Q, (ElementType)type), k = new(problem.K, (ElementType)type);
        StoredHeads v = new(problem.V, (ElementType)type), output = new(problem.Output, (ElementType)type);
        KvCache cache = KvCache.Contiguous(B, 3, G, D, Dv);
        cache.Attend(context, q.Heads, k.Heads, v.Heads, output.Heads);
        output.CopyBack();
        cache.Attend(context, new KvCacheTensors { Q = q.Heads, Output = output.Heads, LogSumExp = new(problem.LogSumExp) });
        problem.AssertOutput(new AttentionOracle(problem));
    }

    [TestMethod, BackendData]
    public void PagesOfSeveralPrecisionsAreAttendedTo(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        const int T = 4, Length = 14;
        AttentionProblem problem = new(B, 2, Length, H, G, D, Dv)
        {
            KeyLengths = [Length, 6], Options = AttentionOptions.Causal,
        };
        int[,] table = { { 5, 0, 3, 1 }, { 2, 4, -1, -1 } };
        KvCacheView cache = new()
        {
            KFloat = new TensorSpan<float>(new float[6, T, G, D]), VFloat = new TensorSpan<float>(new float[6, T, G, Dv]),
            KBFloat16 = new TensorSpan<BFloat16>(new BFloat16[2, T, G, D]),
            VBFloat16 = new TensorSpan<BFloat16>(new BFloat16[2, T, G, Dv]),
            KInt8 = new TensorSpan<sbyte>(new sbyte[2, T, G, D]), VInt8 = new TensorSpan<sbyte>(new sbyte[2, T, G, Dv]),
            KInt8Scales = new TensorSpan<float>(new float[2, T, G]), VInt8Scales = new TensorSpan<float>(new float[2, T, G]),
            PageTable = new(table), Lengths = (int[])[0, 0],
        };
        cache.Append(context, problem.K.Tokens(0, 6), problem.V.Tokens(0, 6));
        // The first sequence alone goes on, over the ends of its pages.
        KvCacheView first = cache with { PageTable = new(new int[,] { { 5, 0, 3, 1 } }), Lengths = (int[])[6] };
        first.Append(context, problem.K.OfItem(0).Tokens(6, Length), problem.V.OfItem(0).Tokens(6, Length));
        // Its oldest pages give up bits: page 7 is the second of bf16, page 8 the first of int8.
        cache.CopyPage(context, from: 5, to: 8);
        cache.CopyPage(context, from: 0, to: 7);
        (table[0, 0], table[0, 1]) = (8, 7);
        cache.PageTable = new(table);
        cache.Lengths = (int[])[Length, 6];
        cache.Attend(
            context,
            new KvCacheTensors { Q = problem.Q.Span, Output = problem.Output.Span, LogSumExp = new(problem.LogSumExp) },
            AttentionOptions.Causal);

        for (int t = 0; t < 2 * T; t++)
            for (int g = 0; g < G; g++)
            {
                for (int d = 0; d < D; d++) problem.K[0, t, g, d] = Stored(cache, isKey: true, table[0, t / T], t % T, g, d);
                for (int d = 0; d < Dv; d++) problem.V[0, t, g, d] = Stored(cache, isKey: false, table[0, t / T], t % T, g, d);
            }
        problem.AssertOutput(new AttentionOracle(problem));
    }

    [TestMethod, BackendData]
    public void SequencesAreCopiedAndTruncated(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AttentionProblem problem = new(B, 1, 9, H, G, D, Dv);
        KvCache cache = KvCache.Contiguous(B, 12, G, D, Dv);
        cache.Append(context, problem.K.Span, problem.V.Span);
        cache.Truncate(0, 5);
        CollectionAssert.AreEqual((int[])[5, 9], cache.Lengths.ToArray());
        cache.CopySequence(context, from: 0, to: 1);
        CollectionAssert.AreEqual((int[])[5, 5], cache.Lengths.ToArray());

        TestTensor twice = TestTensor.Random(B, 1, H, D, 7), output = new(B, 1, H, Dv);
        for (int h = 0; h < H; h++)
            for (int d = 0; d < D; d++) twice[1, 0, h, d] = twice[0, 0, h, d];
        cache.Attend(context, new KvCacheTensors { Q = twice.Span, Output = output.Span });
        int[] bits = output.Bits();
        CollectionAssert.AreEqual(bits[..(H * Dv)], bits[(H * Dv)..], "both sequences hold the same tokens");

        cache.Clear();
        CollectionAssert.AreEqual((int[])[0, 0], cache.Lengths.ToArray());
        cache.Attend(context, new KvCacheTensors { Q = twice.Span, Output = output.Span });
        foreach ((int b, int s, int h, int d) in output.Indices()) Assert.AreEqual(0f, output[b, s, h, d], "no tokens");
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            AttentionProblem problem = new(1, 1, 1000, H, G, D, Dv);
            KvCache cache = KvCache.Contiguous(1, 1000, G, D, Dv, KvPrecision.BFloat16);
            cache.Attend(context, problem.Q.Span, problem.K.Span, problem.V.Span, problem.Output.Span);
            return problem.Output.Bits();
        });

    [TestMethod, BackendData]
    public void WorkspaceSizeIsWhatACallTakes(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AttentionProblem problem = new(1, 1, 1000, H, G, D, Dv);
        KvCache cache = KvCache.Contiguous(1, 1000, G, D, Dv);
        cache.Append(context, problem.K.Span, problem.V.Span);
        context.ReleaseWorkspace();
        KvCacheTensors tensors = new() { Q = problem.Q.Span, Output = problem.Output.Span };
        long bytes = cache.View.WorkspaceSize(context, tensors);
        cache.Attend(context, tensors);
        Assert.IsGreaterThan(0, bytes);
        Assert.IsLessThanOrEqualTo(bytes, context.WorkspaceBytes);
    }

    [TestMethod, BackendData]
    public void WhatDoesNotFitIsNamedAndNotCounted(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AttentionProblem problem = new(B, 1, 5, H, G, D, Dv);
        KvCache cache = KvCache.Contiguous(B, 8, G, D, Dv);
        cache.Append(context, problem.K.Span, problem.V.Span);
        ArgumentException error = Assert.ThrowsExactly<ArgumentOutOfRangeException>(
            () => cache.Append(context, problem.K.Span, problem.V.Span));
        Messages.AssertNames(error, "lengths", "5", "8 places");
        error = Assert.ThrowsExactly<ArgumentException>(() => cache.Append(context, problem.K.Span, default));
        Messages.AssertNames(error, "new_k", "new_v");
        error = Assert.ThrowsExactly<ArgumentException>(() => cache.Append(context, problem.V.Span, problem.V.Span));
        Messages.AssertNames(error, "new_k", "6", "8");
        error = Assert.ThrowsExactly<ArgumentException>(
            () => cache.Append(context, problem.K.Span, problem.V.Span, new() { Dropout = 0.5f }));
        Messages.AssertNames(error, "dropout", "0.5");
        error = Assert.ThrowsExactly<ArgumentException>(() => cache.Attend(context, default(KvCacheTensors)));
        Messages.AssertNames(error, "q", "new_k");
        error = Assert.ThrowsExactly<ArgumentException>(() => cache.Attend(context, new KvCacheTensors { Q = problem.Q.Span }));
        Messages.AssertNames(error, "q", "output");
        error = Assert.ThrowsExactly<ArgumentException>(() => new KvCacheView().CopyPage(context, 0, 1));
        Messages.AssertNames(error, "k_f32", "k_bf16", "k_int8");
        error = Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => cache.CopySequence(context, 0, 2));
        Messages.AssertNames(error, "to", "page 2", "0 to 1");
        Assert.ThrowsExactly<OperationCanceledException>(() => cache.Append(
            context, problem.K.Tokens(0, 1), problem.V.Tokens(0, 1), default, new CancellationToken(canceled: true)));
        CollectionAssert.AreEqual((int[])[5, 5], cache.Lengths.ToArray());
    }

    [TestMethod, BackendData]
    public void PagesOutOfRangeAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        void AssertRefused<T>(int[,] table, params string[] parts) where T : ArgumentException => Messages.AssertNames(
            Assert.ThrowsExactly<T>(() =>
            {
                AttentionProblem problem = new(B, 1, 3, H, G, D, Dv);
                KvCacheView cache = new()
                {
                    KFloat = new TensorSpan<float>(new float[2, 4, G, D]),
                    VFloat = new TensorSpan<float>(new float[2, 4, G, Dv]), PageTable = new(table), Lengths = (int[])[2, 2],
                };
                cache.Append(context, problem.K.Span, problem.V.Span);
            }),
            parts);
        AssertRefused<ArgumentOutOfRangeException>(new[,] { { 0, 2 }, { 1, 0 } }, "page_table", "is 2", "0 to 1");
        AssertRefused<ArgumentOutOfRangeException>(new[,] { { 0 }, { 1 } }, "lengths", "4 places");
        AssertRefused<ArgumentException>(new[,] { { 0, 1 }, { 1, 0 } }, "page_table", "page of its own");
    }

    [TestMethod]
    public void ExtentsOfACacheArePositiveAndFitAnArray()
    {
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => KvCache.Contiguous(0, 1, 1, 1, 1));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => KvCache.Contiguous(1, 0, 1, 1, 1));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => KvCache.Contiguous(1, 1, -1, 1, 1));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => KvCache.Contiguous(1, 1, 1, 0, 1));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => KvCache.Contiguous(1, 1, 1, 1, 0));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => KvCache.Contiguous(1, 1, 1, 1, 1, (KvPrecision)3));
        Messages.AssertNames(
            Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => KvCache.Contiguous(64, int.MaxValue, 8, 128, 128)),
            "[64, 2147483647, 8, 128]", "KvCacheView");
        KvCache cache = KvCache.Contiguous(2, 3, 1, 1, 1);
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => cache.Truncate(2, 0));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => cache.Truncate(-1, 0));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => cache.Truncate(0, 1));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => cache.Truncate(0, -1));
    }

    // An element of a page as it is worth, wherever the page lies.
    private static float Stored(KvCacheView cache, bool isKey, int page, int t, int g, int d)
    {
        TensorSpan<float> floats = isKey ? cache.KFloat : cache.VFloat;
        TensorSpan<BFloat16> bFloat16s = isKey ? cache.KBFloat16 : cache.VBFloat16;
        int floatPages = floats.Rank == 0 ? 0 : (int)floats.Lengths[0];
        int bFloat16Pages = bFloat16s.Rank == 0 ? 0 : (int)bFloat16s.Lengths[0];
        if (page < floatPages) return floats[page, t, g, d];
        page -= floatPages;
        if (page < bFloat16Pages) return bFloat16s[page, t, g, d];
        page -= bFloat16Pages;
        return isKey ? cache.KInt8[page, t, g, d] * cache.KInt8Scales[page, t, g]
            : cache.VInt8[page, t, g, d] * cache.VInt8Scales[page, t, g];
    }

    private static void AssertStoredAsRounded(KvCache cache, TestTensor k, TestTensor v)
    {
        foreach ((TestTensor tensor, bool isKey) in new[] { (k, true), (v, false) })
            foreach ((int b, int t, int g, int d) in tensor.Indices())
            {
                float element = tensor[b, t, g, d];
                float largest = Enumerable.Range(0, tensor.Dim).Max(i => Math.Abs(tensor[b, t, g, i]));
                double bound = cache.Precision switch
                {
                    KvPrecision.Float => 0,
                    KvPrecision.BFloat16 => Math.Abs(element) / (1 << 8),
                    // Half a step of the scale; the scale, its reciprocal and two products round.
                    _ => largest / 127 * (0.5 + 127 * 4 * Near.Unit),
                };
                Near.AssertNear(
                    element, Stored(cache.View, isKey, b, t, g, d), bound, $"{cache.Precision} [{b}, {t}, {g}, {d}]");
            }
    }
}
