using FusedKernels.Interop;

namespace FusedKernels.Tests;

/// <summary>What a user reads when the native library is missing, foreign or of another version.</summary>
[TestClass]
public sealed class NativeLibraryTests
{
    private const string LibraryFile = "libfusedkernels.so";

    [TestMethod]
    public void MissingLibraryIsExplained()
    {
        string output = RunWith(_ => { });
        foreach (string part in (string[])[nameof(FusedKernelsLoadException), LibraryFile, "could not be loaded", "linux-x64",
            "runtimes/linux-x64/native", "package FusedKernels"])
            Assert.Contains(part, output);
    }

    [TestMethod]
    public void SearchedFoldersAreNamed()
    {
        string folder = "";
        string output = RunWith(copy => folder = copy);
        Assert.Contains(folder, output);
    }

    [TestMethod]
    public void ForeignLibraryIsExplained()
    {
        string output = RunWith(folder => Compile(folder, "extern \"C\" int unrelated() { return 1; }"));
        Assert.Contains(nameof(FusedKernelsLoadException), output);
        Assert.Contains("is not the FusedKernels library", output);
    }

    [TestMethod]
    public void OtherVersionIsExplained()
    {
        string output = RunWith(folder => Compile(folder, "extern \"C\" unsigned fk_abi_version() { return 99; }"));
        Assert.Contains(nameof(FusedKernelsLoadException), output);
        Assert.Contains("has ABI version 99", output);
        Assert.Contains($"needs version {NativeMethods.AbiVersion}", output);
    }

    /// <summary>Runs a copy of this assembly without the native library, or with what <paramref name="prepare"/> puts in its
    /// place; the program must fail.</summary>
    private static string RunWith(Action<string> prepare)
    {
        using TemporaryFolder folder = new();
        foreach (string file in Directory.EnumerateFiles(AppContext.BaseDirectory))
            if (Path.GetFileName(file) != LibraryFile)
                File.Copy(file, Path.Combine(folder.Path, Path.GetFileName(file)));
        prepare(folder.Path);
        ChildProcess.Result result = ChildProcess.RunTestAssembly("instruction-set", folder.Path);
        Assert.AreEqual(1, result.ExitCode, result.Output);
        return result.Output;
    }

    private static void Compile(string folder, string source)
    {
        string sourceFile = Path.Combine(folder, "library.cpp");
        File.WriteAllText(sourceFile, source);
        ChildProcess.Result result = ChildProcess.Run(
            "c++", ["-shared", "-fPIC", "-o", Path.Combine(folder, LibraryFile), sourceFile]);
        Assert.AreEqual(0, result.ExitCode, result.Output);
    }
}
