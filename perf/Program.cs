using System.CommandLine;
using BenchmarkDotNet.Running;
using FusedKernels.Perf.Benchmarks;
using FusedKernels.Perf.Comparison;

const string description =
    "Runs the BenchmarkDotNet benchmarks; all other options are BenchmarkDotNet's, --filter '*Gemm*' for one.";
RootCommand root = new(description)
{
    TreatUnmatchedTokensAsErrors = false,
};
root.SetAction(result =>
{
    string[] options = [.. result.UnmatchedTokens];
    string[] all = ["--filter", "*"]; // without a filter BenchmarkDotNet would ask which ones to run
    _ = BenchmarkSwitcher
        .FromAssembly(typeof(GemmBenchmarks).Assembly)
        .Run(options.Length > 0 ? options : all, new BenchmarkConfig());
});
root.Subcommands.Add(CompareCommand.Create());
root.Subcommands.Add(MemoryProbeCommand.Create());
return root.Parse(args).Invoke();
