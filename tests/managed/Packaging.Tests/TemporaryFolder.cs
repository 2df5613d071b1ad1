namespace FusedKernels.Packaging.Tests;

/// <summary>Folders outside the repository, so that its build settings do not reach into them; deleted after the run.</summary>
[TestClass]
public static class TemporaryFolder
{
    private static readonly Lazy<string> Root = new(() => Directory.CreateTempSubdirectory("fusedkernels-").FullName);

    /// <summary>A new empty folder.</summary>
    public static string Create(string name) =>
        Directory.CreateDirectory(Path.Combine(Root.Value, $"{name}-{Guid.NewGuid():N}")).FullName;

    [AssemblyCleanup]
    public static void DeleteAll()
    {
        if (Root.IsValueCreated) Directory.Delete(Root.Value, recursive: true);
    }
}
