namespace FusedKernels.Tests;

/// <summary>The MSBuild target that builds the native library says what to install, in one error.</summary>
[TestClass]
public sealed class BuildNativeTests
{
    [TestMethod]
    public void MissingCMakeIsNamed() =>
        AssertOneError(WithoutPrograms("cmake"), "CMake was not found", "apt-get install -y g++ cmake ninja-build libhwy-dev");

    [TestMethod]
    public void MissingCompilerAndNinjaAreNamed() =>
        AssertOneError(WithoutPrograms("c++", "g++", "clang++", "ninja"), "a tool is missing", "apt-get install -y ninja-build g++");

    [TestMethod]
    public void MissingHighwayIsNamed() => AssertOneError(
        folder =>
        {
            string toolchain = Path.Combine(folder, "toolchain.cmake");
            File.WriteAllText(toolchain, "set(CMAKE_IGNORE_PATH /usr/include)\n");
            return ("CMAKE_TOOLCHAIN_FILE", toolchain);
        },
        "Google Highway's headers were not found", "apt-get install libhwy-dev");

    /// <summary>A PATH whose programs are all but some of the machine's.</summary>
    private static Func<string, (string Name, string Value)> WithoutPrograms(params string[] hidden) => folder =>
    {
        string programs = Directory.CreateDirectory(Path.Combine(folder, "programs")).FullName;
        foreach (string path in Environment.GetEnvironmentVariable("PATH")!.Split(':').Where(Directory.Exists))
            foreach (string file in Directory.EnumerateFiles(path))
            {
                string link = Path.Combine(programs, Path.GetFileName(file));
                if (!hidden.Contains(Path.GetFileName(file)) && !File.Exists(link)) File.CreateSymbolicLink(link, file);
            }
        return ("PATH", programs);
    };

    private static void AssertOneError(Func<string, (string, string)> prepare, params string[] parts)
    {
        using TemporaryFolder folder = new();
        ChildProcess.Result result = ChildProcess.Run(
            "dotnet",
            [
                "msbuild", Path.Combine(ChildProcess.RepositoryRoot, "managed/FusedKernels/FusedKernels.csproj"), "-nologo",
                "-nodeReuse:false", "-verbosity:minimal", "-target:BuildNative",
                $"-property:NativeBuildDirectory={Path.Combine(folder.Path, "build")}",
            ],
            prepare(folder.Path));
        Assert.AreNotEqual(0, result.ExitCode);
        string line = Assert.ContainsSingle(result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries), result.Output);
        Assert.Contains("error", line);
        foreach (string part in parts) Assert.Contains(part, line);
    }
}
