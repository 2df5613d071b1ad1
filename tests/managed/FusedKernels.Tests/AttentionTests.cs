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
                RunAndCompare(context, 1, queries, keys, 1, dim, dim, new AttentionOptions { IsCausal = causal });
    }

    [TestMethod, BackendData(0, 1, 2, 3)]
    public void BatchesHeadsAndScalesMatchOracle(string backend, int options)
    {
        using FusedContext context = Backends.Create(backend);
        RunAndCompare(context, 2, 9, 9, 3, 8, 8, AllOptions[options]);
        RunAndCompare(context, 3, 5, 17, 2, 7, 12, AllOptions[options]);
        RunAndCompare(context, 2, 17, 5, 2, 16, 3, AllOptions[options]);
    }

    [TestMethod, BackendData(TensorLayout.HeadsFirst, TensorLayout.Packed)]
    public void AnyLayoutMatchesOracle(string backend, object layout)
    {
        using FusedContext context = Backends.Create(backend);
        RunAndCompare(context, 2, 19, 19, 3, 20, 20, AttentionOptions.Causal, (TensorLayout)layout);
        RunAndCompare(context, 1, 1, 19, 1, 4, 4, default, (TensorLayout)layout);
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
    public void NoQueriesAreAllowed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestTensor q = new(1, 0, 2, 4), k = TestTensor.Random(1, 3, 2, 4, 1), v = TestTensor.Random(1, 3, 2, 4, 2);
        Attention.Forward(context, q.Span, k.Span, v.Span, new TestTensor(1, 0, 2, 4).Span);
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            TestTensor q = TestTensor.Random(2, 77, 3, 24, 1), k = TestTensor.Random(2, 77, 3, 24, 2);
            TestTensor v = TestTensor.Random(2, 77, 3, 24, 3), dOutput = TestTensor.Random(2, 77, 3, 24, 4);
            Result result = Run(context, q, k, v, dOutput, AttentionOptions.Causal, TensorLayout.Contiguous);
            return [.. result.Output.Bits(), .. result.DQ.Bits(), .. result.DK.Bits(), .. result.DV.Bits()];
        });

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

    private sealed record Result(TestTensor Output, float[] LogSumExp, TestTensor DQ, TestTensor DK, TestTensor DV);

    private static Result Run(
        FusedContext context, TestTensor q, TestTensor k, TestTensor v, TestTensor dOutput, AttentionOptions options,
        TensorLayout layout)
    {
        TestTensor Like(TestTensor tensor, int dim) => new(tensor.Batch, tensor.Sequence, tensor.Heads, dim, layout);
        Result result = new(
            Like(q, v.Dim), new float[q.Batch * q.Heads * q.Sequence], Like(q, q.Dim), Like(k, k.Dim), Like(v, v.Dim));
        Attention.Forward(context, q.Span, k.Span, v.Span, result.Output.Span, options, result.LogSumExp);
        Attention.Backward(
            context, q.Span, k.Span, v.Span, result.Output.Span, result.LogSumExp, dOutput.Span, result.DQ.Span,
            result.DK.Span, result.DV.Span, options);
        return result;
    }

    private static void RunAndCompare(
        FusedContext context, int batch, int queries, int keys, int heads, int dim, int valueDim, AttentionOptions options,
        TensorLayout layout = TensorLayout.Contiguous)
    {
        string what = $"B {batch}, Sq {queries}, Sk {keys}, H {heads}, D {dim}, Dv {valueDim}, {options}, {layout}";
        TestTensor q = TestTensor.Random(batch, queries, heads, dim, 1, layout, scale: 2);
        TestTensor k = TestTensor.Random(batch, keys, heads, dim, 2, layout, scale: 2);
        TestTensor v = TestTensor.Random(batch, keys, heads, valueDim, 3, layout);
        TestTensor dOutput = TestTensor.Random(batch, queries, heads, valueDim, 4, layout);
        Result result = Run(context, q, k, v, dOutput, options, layout);

        foreach (TestTensor written in (TestTensor[])[result.Output, result.DQ, result.DK, result.DV])
            written.AssertGapsUntouched(what);
        for (int b = 0; b < batch; b++)
            for (int h = 0; h < heads; h++)
            {
                AttentionOracle oracle = new(q, k, v, options, b, h);
                for (int query = 0; query < queries; query++)
                    AssertOutput(oracle, result, b, query, h, what);
                (Value[,] dQ, Value[,] dK, Value[,] dV) = oracle.Gradients(dOutput);
                AssertGradient(dQ, result.DQ, b, h, oracle.GradientError(), $"dQ of {what}");
                AssertGradient(dK, result.DK, b, h, oracle.GradientError(), $"dK of {what}");
                AssertGradient(dV, result.DV, b, h, oracle.GradientError(), $"dV of {what}");
            }
    }

    private static void AssertOutput(AttentionOracle oracle, Result result, int b, int query, int h, string what)
    {
        TestTensor output = result.Output;
        for (int d = 0; d < output.Dim; d++)
        {
            (double expected, double bound) = oracle.Output(query, d);
            Near.AssertNear(expected, output[b, query, h, d], bound, $"output[{b}, {query}, {h}, {d}] of {what}");
        }
        float logSumExp = result.LogSumExp[(b * output.Heads + h) * output.Sequence + query];
        if (double.IsInfinity(oracle.LogSumExp[query]))
            Assert.AreEqual(float.NegativeInfinity, logSumExp);
        else
            Near.AssertNear(
                oracle.LogSumExp[query], logSumExp, oracle.LogSumExpBound[query], $"logSumExp[{b}, {h}, {query}] of {what}");
    }

    private static void AssertGradient(Value[,] expected, TestTensor actual, int b, int h, double error, string what)
    {
        for (int s = 0; s < actual.Sequence; s++)
            for (int d = 0; d < actual.Dim; d++)
                Near.AssertNear(
                    expected[s, d].Sum, actual[b, s, h, d], error * expected[s, d].Magnitude, $"[{b}, {s}, {h}, {d}] {what}");
    }
}
