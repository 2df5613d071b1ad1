using BenchmarkDotNet.Attributes;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>What the benchmarks share: one context on all processors.</summary>
public abstract class OperationBenchmarks
{
    /// <summary>The context that the operators run in.</summary>
    protected FusedContext Context { get; private set; } = null!;

    /// <summary>Creates the context, then the operators' arguments.</summary>
    [GlobalSetup]
    public void SetUp()
    {
        Context = FusedContext.Cpu();
        Prepare();
    }

    /// <summary>Frees the context.</summary>
    [GlobalCleanup]
    public void CleanUp() => Context.Dispose();

    /// <summary>Allocates the operators' arguments.</summary>
    protected abstract void Prepare();
}
