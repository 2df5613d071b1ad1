namespace FusedKernels.Packaging.Tests;

/// <summary>Runs the first foreign binding, Python's ctypes, against the library that the package ships.</summary>
[TestClass]
public sealed class PythonBindingTests
{
    private static readonly string Script = Repository.PathOf("tests", "python", "ctypes_test.py");

    [TestMethod]
    public void PythonStandardLibrary_CanCallThePackagedLibrary()
    {
        Tool.Require("python3", "call the library from Python");

        AssertPassed(Tool.Start("python3", Repository.Root, Script, Package.NativeLibrary, "--verbose"));
    }

    // An emulated processor refuses the instructions that it lacks, so this also shows that none of them has leaked into code
    // that every processor runs. No emulator here knows AVX-512.
    [TestMethod]
    [DataRow("core2duo", "scalar")]
    [DataRow("Westmere", "sse4")]
    [DataRow("Haswell", "avx2")]
    public void OlderProcessor_GetsTheKernelsThatItCanRun(string processor, string instructionSet)
    {
        Tool.Require("python3", "call the library from Python");
        Tool.Require("qemu-x86_64", "emulate older processors (apt-get install qemu-user)");
        string python = Tool.Run("python3", Repository.Root, "-c", "import sys; print(sys.executable)").Trim();

        AssertPassed(Tool.Start("env", Repository.Root, $"EXPECTED_ISA={instructionSet}",
            "qemu-x86_64", "-cpu", processor, python, Script, Package.NativeLibrary, "--verbose"));
    }

    private static void AssertPassed(Tool.Result result)
    {
        Assert.AreEqual(0, result.ExitCode, result.ToString());
        Assert.MatchesRegex(@"Ran [1-9]\d* tests", result.Errors);
    }
}
