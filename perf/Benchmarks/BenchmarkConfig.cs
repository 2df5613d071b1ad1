using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>
/// Runs the benchmarks in this process: the time is spent in native code, which a process per benchmark would not measure
/// any better, and building one per benchmark would take longer than the benchmarks.
/// </summary>
internal sealed class BenchmarkConfig : ManualConfig
{
    /// <summary>The default configuration with the in-process toolchain and allocations.</summary>
    public BenchmarkConfig()
    {
        Add(DefaultConfig.Instance);
        AddJob(Job.Default.WithToolchain(InProcessEmitToolchain.Instance).AsDefault());
        AddDiagnoser(MemoryDiagnoser.Default);
    }
}
