using System.IO.Compression;

namespace FusedKernels.Packaging.Tests;

/// <summary>The NuGet package, packed once per test run into a feed of its own from what the solution has built.</summary>
internal static class Package
{
#if DEBUG
    private const string Configuration = "Debug";
#else
    private const string Configuration = "Release";
#endif

    private static readonly Lazy<string> PackedFile = new(Pack);
    private static readonly Lazy<string> ExtractedFolder = new(Extract);

    /// <summary>The .nupkg file.</summary>
    public static string FilePath => PackedFile.Value;

    /// <summary>The folder that serves as a NuGet source.</summary>
    public static string Feed => Path.GetDirectoryName(FilePath)!;

    /// <summary>What the file name says: FusedKernels.0.1.0.nupkg is version 0.1.0.</summary>
    public static string Version => Path.GetFileNameWithoutExtension(FilePath)["FusedKernels.".Length..];

    /// <summary>The shared library as users get it.</summary>
    public static string NativeLibrary =>
        Path.Combine(ExtractedFolder.Value, "runtimes", "linux-x64", "native", "libfusedkernels.so");

    /// <summary>The text of one file in the package.</summary>
    public static string Read(string entry) => File.ReadAllText(Path.Combine(ExtractedFolder.Value, entry));

    /// <summary>The paths of the files that are the package's own, without NuGet's bookkeeping.</summary>
    public static IReadOnlyList<string> Entries
    {
        get
        {
            using ZipArchive archive = ZipFile.OpenRead(FilePath);
            return [.. archive.Entries.Select(entry => entry.FullName)
                .Where(name => !name.StartsWith("_rels/", StringComparison.Ordinal)
                    && !name.StartsWith("package/", StringComparison.Ordinal) && name != "[Content_Types].xml")];
        }
    }

    private static string Pack()
    {
        string feed = TemporaryFolder.Create("feed");
        Tool.Run("dotnet", Repository.Root, "pack", Path.Combine("managed", "FusedKernels"),
            "--configuration", Configuration, "--no-build", "--output", feed);
        return Directory.GetFiles(feed, "*.nupkg").Single();
    }

    private static string Extract()
    {
        string folder = TemporaryFolder.Create("package");
        ZipFile.ExtractToDirectory(FilePath, folder);
        return folder;
    }
}
