using System.Numerics.Tensors;

namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class RotaryEmbeddingTests
{
    [TestMethod, BackendData(TensorLayout.Contiguous, TensorLayout.HeadsFirst, TensorLayout.Packed)]
    public void MatchesOracle(string backend, object layout)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (bool interleaved in (bool[])[false, true])
            foreach (int dim in (int[])[2, 4, 6, 16, 34, 64, 130])
                foreach (int rotaryDims in (int[])[0, 2, dim])
                    RunAndCompare(
                        context, new RotaryEmbeddingOptions { Interleaved = interleaved, RotaryDims = rotaryDims }, dim,
                        (TensorLayout)layout);
    }

    [TestMethod, BackendData]
    public void OffsetBaseAndDirectionMatchOracle(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        RunAndCompare(context, new RotaryEmbeddingOptions { PositionOffset = 100 }, 16);
        RunAndCompare(context, new RotaryEmbeddingOptions { Base = 500_000 }, 16);
        RunAndCompare(context, new RotaryEmbeddingOptions { Inverse = true, Interleaved = true }, 16);
        RunAndCompare(context, new RotaryEmbeddingOptions { PositionOffset = 3 }, 16, positions: [5, 0, 5, 40, 2, 1, 7]);
    }

    [TestMethod, BackendData]
    public void InverseUndoesIt(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestTensor x = TestTensor.Random(2, 9, 3, 32, 1), y = TestTensor.Random(2, 9, 3, 32, 1);
        RotaryEmbedding.Apply(context, y.Span, y.Span);
        RotaryEmbedding.Apply(context, y.Span, y.Span, new RotaryEmbeddingOptions { Inverse = true });
        foreach ((int b, int s, int h, int d) in x.Indices())
            Near.AssertNear(x[b, s, h, d], y[b, s, h, d], 2 * Bound(position: 8), $"[{b}, {s}, {h}, {d}]");
    }

    [TestMethod, BackendData]
    public void BadArgumentsAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestTensor x = TestTensor.Random(1, 3, 2, 4, 1);
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => RotaryEmbedding.Apply(
            context, x.Span, new TestTensor(1, 3, 2, 4).Span, new RotaryEmbeddingOptions { RotaryDims = 3 }));
        Messages.AssertNames(error, "rotary_dims", "3");
        error = Assert.ThrowsExactly<ArgumentException>(() => RotaryEmbedding.Apply(
            context, x.Span, new TestTensor(1, 3, 2, 4).Span, default, [1, 2]));
        Messages.AssertNames(error, "positions", "2", "3");
    }

    // Elements lie in [-1, 1]. Two products and a sum round; cosine and sine are off by a few units, and the angle by a few
    // units of itself, at most the position.
    private static double Bound(double position) => (16 + 4 * position) * Near.Unit;

    private static void RunAndCompare(
        FusedContext context, RotaryEmbeddingOptions options, int dim, TensorLayout layout = TensorLayout.Contiguous,
        int[]? positions = null)
    {
        TestTensor x = TestTensor.Random(2, 7, 3, dim, 1, layout), y = new(2, 7, 3, dim, layout);
        RotaryEmbedding.Apply(context, x.Span, y.Span, options, positions);
        y.AssertGapsUntouched($"{options}");
        int rotaryDims = options.RotaryDims == 0 ? dim : options.RotaryDims;
        foreach ((int b, int s, int h, int d) in x.Indices())
        {
            string what = $"[{b}, {s}, {h}, {d}] of {options}, D {dim}";
            if (d >= rotaryDims)
            {
                Assert.AreEqual(x[b, s, h, d], y[b, s, h, d], what);
                continue;
            }
            double position = (positions?[s] ?? s) + options.PositionOffset;
            int pair = options.Interleaved ? d / 2 : d % (rotaryDims / 2);
            bool isFirst = options.Interleaved ? d % 2 == 0 : d < rotaryDims / 2;
            int partner = options.Interleaved ? d ^ 1 : (d + rotaryDims / 2) % rotaryDims;
            double angle = position * Math.Pow(options.Base, -2.0 * pair / rotaryDims) * (options.Inverse ? -1 : 1);
            double expected = x[b, s, h, d] * Math.Cos(angle)
                + (isFirst ? -1 : 1) * x[b, s, h, partner] * Math.Sin(angle);
            Near.AssertNear(expected, y[b, s, h, d], Bound(position), what);
        }
    }
}
