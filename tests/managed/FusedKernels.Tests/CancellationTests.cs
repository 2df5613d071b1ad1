using System.Diagnostics;

namespace FusedKernels.Tests;

[TestClass, DoNotParallelize]
public sealed class CancellationTests
{
    [TestMethod]
    public void CancelledTokenRefusesTheCall()
    {
        using FusedContext context = FusedContext.Cpu(threads: 1);
        TestMatrix a = TestMatrix.Random(2, 2, 1), c = TestMatrix.Random(2, 2, 2);
        int[] before = c.Bits();
        CancellationToken cancelled = new(canceled: true);
        OperationCanceledException error = Assert.ThrowsExactly<OperationCanceledException>(
            () => Gemm.Multiply(context, a.Span, a.Span, c.Span, cancellationToken: cancelled));
        Assert.AreEqual(cancelled, error.CancellationToken);
        CollectionAssert.AreEqual(before, c.Bits());
    }

    [TestMethod]
    public void LossEndsInMidCallAndTheContextGoesOn()
    {
        // 3 products of 2 * 2048 * 16000 * 1024 operations take seconds on any machine that the tests run on.
        const int Rows = 2048, Classes = 16_000, Dims = 1024;
        float[] embeddings = new float[Rows * Dims], classifier = new float[Classes * Dims];
        float[] dEmbeddings = new float[embeddings.Length], dClassifier = new float[classifier.Length];
        int[] targets = new int[Rows];
        using FusedContext context = FusedContext.Cpu();
        TimeSpan LossAndGradient(CancellationToken token)
        {
            Stopwatch stopwatch = Stopwatch.StartNew();
            OperationCanceledException error = Assert.ThrowsExactly<OperationCanceledException>(
                () => CutCrossEntropy.LossAndGradient(
                    context, new ReadOnlySpan2D<float>(embeddings, Rows, Dims),
                    new ReadOnlySpan2D<float>(classifier, Classes, Dims), targets,
                    new(dEmbeddings, Rows, Dims), new(dClassifier, Classes, Dims), cancellationToken: token));
            Assert.AreEqual(token, error.CancellationToken);
            return stopwatch.Elapsed;
        }

        Stopwatch whole = Stopwatch.StartNew();
        CutCrossEntropy.Forward(
            context, new ReadOnlySpan2D<float>(embeddings, Rows, Dims), new ReadOnlySpan2D<float>(classifier, Classes, Dims),
            targets);
        TimeSpan forward = whole.Elapsed;

        using CancellationTokenSource source = new(TimeSpan.FromMilliseconds(20));
        TimeSpan cancelled = LossAndGradient(source.Token);
        // Loss and gradient take three times the forward pass; half of that one is far below, and far above a tile.
        Assert.IsLessThan(forward / 2 + TimeSpan.FromMilliseconds(20), cancelled);

        TestMatrix a = TestMatrix.Random(3, 3, 1), c = new(3, 3);
        Gemm.Multiply(context, a.Span, a.Span, c.Span);
        Assert.IsFalse(c.Elements().Any(float.IsNaN), "the context works after a cancelled call");
    }

    [TestMethod]
    public void AttentionEndsInMidCall()
    {
        TestTensor q = new(1, 16_384, 8, 64), output = new(1, 16_384, 8, 64);
        float[] logSumExp = new float[16_384 * 8];
        using FusedContext context = FusedContext.Cpu();
        using CancellationTokenSource source = new(TimeSpan.FromMilliseconds(20));
        Assert.ThrowsExactly<OperationCanceledException>(() => Attention.Forward(
            context, q.Span, q.Span, q.Span, output.Span, default, logSumExp, source.Token));
        using CancellationTokenSource second = new(TimeSpan.FromMilliseconds(20));
        Assert.ThrowsExactly<OperationCanceledException>(() => Attention.Backward(
            context, q.Span, q.Span, q.Span, output.Span, logSumExp, output.Span, new TestTensor(1, 16_384, 8, 64).Span,
            new TestTensor(1, 16_384, 8, 64).Span, new TestTensor(1, 16_384, 8, 64).Span, default, second.Token));
    }

    [TestMethod]
    public void CancellingAfterTheCallDoesNotReachTheNext()
    {
        using FusedContext context = FusedContext.Cpu(threads: 1);
        TestMatrix a = TestMatrix.Random(3, 3, 1), c = new(3, 3);
        for (int i = 0; i < 200; i++)
        {
            using CancellationTokenSource source = new();
            // Races with the call on purpose: it may be refused, ended, or done.
            Task cancel = Task.Run(source.Cancel);
            try
            {
                Gemm.Multiply(context, a.Span, a.Span, c.Span, cancellationToken: source.Token);
            }
            catch (OperationCanceledException)
            {
            }
            Gemm.Multiply(context, a.Span, a.Span, c.Span);
            cancel.Wait();
            Gemm.Multiply(context, a.Span, a.Span, c.Span);
        }
    }
}
