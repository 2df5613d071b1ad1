using System.Numerics.Tensors;
using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class AttentionTests
{
    private static readonly AttentionOptions[] AllOptions =
        [default, AttentionOptions.Causal, new() { Scale = 0.3f }, new() { IsCausal = true, Scale = 0 }];

    [TestMethod, BackendData]
    public void MatchesOracle(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        foreach ((int queries, int keys, int dim) in Sizes.Triples())
            foreach (bool causal in (bool[])[false, true])
                new AttentionProblem(1, queries, keys, 1, 1, dim, dim) { Options = new() { IsCausal = causal } }
                    .RunAndCompare(context);
    }

    [TestMethod, BackendData(0, 1, 2, 3)]
    public void BatchesHeadsAndScalesMatchOracle(string backend, int options)
    {
        using FusedContext context = Backends.Create(backend);
        new AttentionProblem(2, 9, 9, 3, 3, 8, 8) { Options = AllOptions[options] }.RunAndCompare(context);
        new AttentionProblem(3, 5, 17, 2, 1, 7, 12) { Options = AllOptions[options] }.RunAndCompare(context);
        new AttentionProblem(2, 17, 5, 6, 2, 16, 3) { Options = AllOptions[options] }.RunAndCompare(context);
    }

    [TestMethod, BackendData(TensorLayout.HeadsFirst, TensorLayout.Packed)]
    public void AnyLayoutMatchesOracle(string backend, object layout)
    {
        using FusedContext context = Backends.Create(backend);
        new AttentionProblem(2, 19, 19, 3, 3, 20, 20, (TensorLayout)layout) { Options = AttentionOptions.Causal }
            .RunAndCompare(context);
        new AttentionProblem(1, 1, 19, 2, 1, 4, 4, (TensorLayout)layout).RunAndCompare(context);
    }

    [TestMethod, BackendData(ElementType.Float, ElementType.BFloat16, ElementType.Half)]
    public void StoredTypesMatchOracle(string backend, object type)
    {
        using FusedContext context = Backends.Create(backend);
        // The oracle reads the rounded inputs and the output that forward wrote: what is left is float's accumulation and
        // one rounding of each result.
        foreach (ElementType kvType in Enum.GetValues<ElementType>())
            new AttentionProblem(2, 19, 21, 4, 2, 20, 12, type: (ElementType)type, kvType: kvType)
            {
                Options = AttentionOptions.Causal,
            }.RunAndCompare(context);
    }

    [TestMethod, BackendData]
    public void QueryWithoutKeysGivesZeros(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        // Five queries on two keys: the first three see none.
        TestTensor q = TestTensor.Random(1, 5, 1, 4, 1), k = TestTensor.Random(1, 2, 1, 4, 2);
        TestTensor v = TestTensor.Random(1, 2, 1, 4, 3), output = new(1, 5, 1, 4);
        float[] logSumExp = new float[5];
        Attention.Forward(context, q.Span, k.Span, v.Span, output.Span, AttentionOptions.Causal, logSumExp);
        for (int query = 0; query < 3; query++)
        {
            Assert.AreEqual(float.NegativeInfinity, logSumExp[query]);
            for (int d = 0; d < 4; d++) Assert.AreEqual(0f, output[0, query, 0, d]);
        }
    }

    [TestMethod, BackendData]
    public void ExtremeScoresStayFinite(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        // With D = 1, scale 1 and queries of +-1, scores are the keys' elements and carry no rounding of their own.
        TestTensor q = new(1, 4, 1, 1), k = new(1, 33, 1, 1), v = TestTensor.Random(1, 33, 1, 5, 3), output = new(1, 4, 1, 5);
        for (int query = 0; query < 4; query++) q[0, query, 0, 0] = query % 2 == 0 ? 1 : -1;
        for (int key = 0; key < 33; key++) k[0, key, 0, 0] = key switch { 0 => 1e4f, 1 => -1e4f, _ => 0 };
        Attention.Forward(context, q.Span, k.Span, v.Span, output.Span, new AttentionOptions { Scale = 1 });
        for (int query = 0; query < 4; query++)
            for (int d = 0; d < 5; d++)
                Assert.AreEqual(v[0, query % 2, 0, d], output[0, query, 0, d], "the largest score takes all");
    }

    [TestMethod, BackendData]
    public void NoQueriesAndNoKeysAreAllowed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        new AttentionProblem(1, 0, 3, 2, 2, 4, 4).RunAndCompare(context);
        new AttentionProblem(1, 3, 0, 2, 2, 4, 4).RunAndCompare(context);
        new AttentionProblem(0, 3, 3, 2, 2, 4, 4).RunAndCompare(context);
        // Arrays without elements keep their extents.
        Attention.Forward(
            context, new float[1, 0, 2, 4], new float[1, 3, 2, 4], new float[1, 3, 2, 4], new float[1, 0, 2, 4]);
        float[,,,] output = { { { { 5, 5 } } } };
        Attention.Forward(context, new float[1, 1, 1, 3], new float[1, 0, 1, 3], new float[1, 0, 1, 2], output);
        CollectionAssert.AreEqual((float[])[0, 0], output.Cast<float>().ToArray());
    }

    [TestMethod, BackendData]
    public void MergedPartsAreTheWhole(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        (int First, int End)[] ranges = [(0, 7), (7, 7), (7, 20)];
        AttentionProblem whole = new(2, 3, 20, 4, 2, 8, 5);
        TestArray outputs = new(ranges.Length, 2, 3, 4, 5), logSumExps = new(ranges.Length, 2, 4, 3);
        foreach ((int part, (int first, int end)) in ranges.Index())
            Attention.Forward(
                context,
                new AttentionTensors
                {
                    Q = whole.Q.Span, K = whole.K.Tokens(first, end), V = whole.V.Tokens(first, end),
                    Output = new TensorSpan<float>(outputs.Elements.AsSpan(part * 120, 120), [2, 3, 4, 5]),
                    LogSumExp = new(logSumExps.Elements.AsSpan(part * 24, 24), [2, 4, 3]),
                });
        Attention.Merge(context, outputs.Span, logSumExps.Span, whole.Output.Span, new(whole.LogSumExp));

        // The same sums from the parts' results, which are exact here, in place of the scores.
        for (int b = 0; b < 2; b++)
            for (int h = 0; h < 4; h++)
                for (int query = 0; query < 3; query++)
                {
                    int[] parts = [0, 2];
                    Bounded[] scores = [.. parts.Select(
                        part => (Bounded)logSumExps.Elements[logSumExps.IndexOf(part, b, h, query)])];
                    Bounded largest = scores.MaxBy(score => score.Value);
                    Bounded total = largest + Bounded.Log(
                        Bounded.Sum([.. scores.Select(score => Bounded.Exp(score - largest))]));
                    total.AssertNear(whole.LogSumExp[b, h, query], "logSumExp");
                    for (int d = 0; d < 5; d++)
                        Bounded.Sum([.. parts.Select((part, i) =>
                            Bounded.Exp(scores[i] - total) * outputs.Elements[outputs.IndexOf(part, b, query, h, d)])])
                            .AssertNear(whole.Output[b, query, h, d], "output");
                }

        TestTensor alone = new(2, 3, 4, 5);
        Attention.Merge(context, outputs.Span, logSumExps.Span, alone.Span);
        CollectionAssert.AreEqual(whole.Output.Bits(), alone.Bits());

        // And these are attention to all keys: the error of the parts, and that of the merge.
        AttentionOracle oracle = new(whole);
        foreach ((int b, int s, int h, int d) in alone.Indices())
            Near.AssertNear(
                oracle.Output[b, s, h, d].Value, alone[b, s, h, d], 2 * oracle.Output[b, s, h, d].Error, "merged output");
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            AttentionProblem problem = new(2, 77, 77, 3, 1, 24, 24) { Options = AttentionOptions.Causal };
            problem.Forward(context);
            problem.Backward(context);
            return [.. problem.Output.Bits(), .. problem.DQ.Bits(), .. problem.DK.Bits(), .. problem.DV.Bits()];
        });

    [TestMethod, BackendData]
    public void WorkspaceSizesAreWhatCallsTake(string backend)
    {
        AttentionProblem problem = new(1, 65, 65, 2, 2, 16, 16);
        using FusedContext context = Backends.Create(backend);
        AttentionTensors tensors = new()
        {
            Q = problem.Q.Span, K = problem.K.Span, V = problem.V.Span, Output = problem.Output.Span,
            LogSumExp = new(problem.LogSumExp),
        };
        long forward = Attention.WorkspaceSize(context, tensors).Forward;
        Attention.Forward(context, tensors);
        AssertTook(forward, context);

        tensors.DOutput = problem.DOutput.Span;
        tensors.DQ = problem.DQ.Span;
        tensors.DK = problem.DK.Span;
        tensors.DV = problem.DV.Span;
        long backward = Attention.WorkspaceSize(context, tensors).Backward;
        context.ReleaseWorkspace();
        Attention.Backward(context, tensors);
        AssertTook(backward, context);
    }

    private static void AssertTook(long bytes, FusedContext context)
    {
        Assert.IsGreaterThan(0, bytes);
        Assert.IsLessThanOrEqualTo(bytes, context.WorkspaceBytes, "the workspace is within what was said");
    }

    [TestMethod, BackendData]
    public void MismatchIsNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestTensor q = TestTensor.Random(1, 3, 2, 4, 1), k = TestTensor.Random(1, 3, 2, 5, 2), output = new(1, 3, 2, 4);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(
            () => Attention.Forward(context, q.Span, k.Span, q.Span, output.Span));
        Messages.AssertNames(error, "k", "5", "4");

        float[] flat = new float[12];
        error = Assert.ThrowsExactly<ArgumentException>(() => Attention.Forward(
            context, new ReadOnlyTensorSpan<float>(flat, [3, 4]), k.Span, q.Span, output.Span));
        Messages.AssertNames(error, "q", "[B, Sq, H, D]");

        error = Assert.ThrowsExactly<ArgumentException>(
            () => Attention.Forward(context, q.Span, q.Span, q.Span, output.Span, default, new float[5]));
        Messages.AssertNames(error, "logSumExp", "5", "6");
    }
}
