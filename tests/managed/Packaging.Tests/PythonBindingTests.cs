namespace FusedKernels.Packaging.Tests;

/// <summary>Runs the first foreign binding, Python's ctypes, against the library that the package ships.</summary>
[TestClass]
public sealed class PythonBindingTests
{
    [TestMethod]
    public void PythonStandardLibrary_CanCallThePackagedLibrary()
    {
        Tool.Require("python3", "call the library from Python");

        Tool.Result result = Tool.Start(
            "python3", Repository.Root, Repository.PathOf("tests", "python", "ctypes_test.py"), Package.NativeLibrary, "--verbose");

        Assert.AreEqual(0, result.ExitCode, result.ToString());
        Assert.MatchesRegex(@"Ran [1-9]\d* tests", result.Errors);
    }
}
