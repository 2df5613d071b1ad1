namespace FusedKernels.Tests.Support;

/// <summary>The devices that operator tests run on, by name, so that a test is written once for all of them.</summary>
internal static class Backends
{
    private static readonly Dictionary<string, Func<int, FusedContext>> Factories = new()
    {
        ["cpu"] = threads => FusedContext.Cpu(threads),
    };

    public static IEnumerable<string> Names => Factories.Keys;

    public static FusedContext Create(string name, int threads = 2) => Factories[name](threads);
}
