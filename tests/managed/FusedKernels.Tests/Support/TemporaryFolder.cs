namespace FusedKernels.Tests.Support;

/// <summary>A folder that is deleted with its content.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("fusedkernels-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
