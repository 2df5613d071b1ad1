using System.Diagnostics;

namespace FusedKernels.Tests.Support;

/// <summary>A matrix product that takes seconds, running on another thread until it is cancelled: for tests of what happens
/// to a context meanwhile.</summary>
internal sealed class LongProduct : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private Task? _task;

    public enum Size
    {
        /// <summary>Milliseconds.</summary>
        Short = 150,

        /// <summary>10^11 multiplications and more.</summary>
        Long = 5000,
    }

    public FusedContext Context { get; } = FusedContext.Cpu(threads: 2);

    /// <summary>Starts the product and returns when it runs.</summary>
    public Task Start()
    {
        using ManualResetEventSlim started = new();
        _task = Task.Factory.StartNew(
            () =>
            {
                float[] a = new float[(int)Size.Long * (int)Size.Long], c = new float[a.Length];
                Span2D<float> aSpan = new(a, (int)Size.Long, (int)Size.Long), cSpan = new(c, (int)Size.Long, (int)Size.Long);
                started.Set();
                Gemm.Multiply(Context, aSpan, aSpan, cSpan, cancellationToken: _source.Token);
            },
            TaskCreationOptions.LongRunning);
        started.Wait();
        WaitUntilBusy();
        return _task;
    }

    public void Cancel() => _source.Cancel();

    public void Dispose()
    {
        _source.Cancel();
        ((IAsyncResult?)_task)?.AsyncWaitHandle.WaitOne();
        Context.Dispose();
        _source.Dispose();
    }

    /// <summary>A product with two threads; its bits.</summary>
    public static int[] Run(Size size, int repeat = 1)
    {
        using FusedContext context = FusedContext.Cpu(threads: 2);
        TestMatrix a = TestMatrix.Random((int)size, (int)size, 1), b = TestMatrix.Random((int)size, (int)size, 2);
        TestMatrix c = new((int)size, (int)size);
        for (int i = 0; i < repeat; i++) Gemm.Multiply(context, a.Span, b.Span, c.Span);
        return c.Bits();
    }

    private void WaitUntilBusy()
    {
        Stopwatch waited = Stopwatch.StartNew();
        while (waited.Elapsed < TimeSpan.FromSeconds(30))
        {
            try
            {
                _ = Context.WorkspaceBytes;
                Thread.Sleep(1);
            }
            catch (InvalidOperationException)
            {
                return;
            }
        }
        throw new TimeoutException("The product did not start within 30 seconds.");
    }
}
