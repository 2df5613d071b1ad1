using System.Numerics.Tensors;

namespace FusedKernels.Perf.Operations;

/// <summary>Embeddings [N, D], classifier [V, D] and targets [N] of a cut cross-entropy, always the same ones.</summary>
internal sealed record CutCrossEntropyInputs(
    int Rows, int Classes, int Dimensions, float[] Embeddings, float[] Classifier, int[] Targets)
{
    /// <summary>Scores with a standard deviation of 1: the losses of a model that has not learned yet.</summary>
    public static CutCrossEntropyInputs Uniform(int n, int v, int d) => new(
        n, v, d,
        RandomArrays.Uniform(n * d, 1),
        RandomArrays.Uniform(v * d, 2, 1 / Math.Sqrt(d)),
        RandomArrays.Indices(n, v, 3));

    /// <summary>A confident model: the target's score stands 12 above the rest, which scatter by 0.3 to 0.5.</summary>
    public static CutCrossEntropyInputs Peaked(int n, int v, int d)
    {
        CutCrossEntropyInputs inputs = new(
            n, v, d,
            RandomArrays.Normal(n * d, 1, 0.3),
            RandomArrays.Normal(v * d, 2, 1 / Math.Sqrt(d)),
            RandomArrays.Indices(n, v, 3));
        for (int row = 0; row < n; row++)
        {
            ReadOnlySpan<float> target = inputs.Classifier.AsSpan(inputs.Targets[row] * d, d);
            Span<float> embedding = inputs.Embeddings.AsSpan(row * d, d);
            TensorPrimitives.MultiplyAdd(target, 12 / TensorPrimitives.SumOfSquares(target), embedding, embedding);
        }

        return inputs;
    }
}
