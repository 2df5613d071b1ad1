namespace FusedKernels.Packaging.Tests;

/// <summary>What the shared library in the package asks of a machine, and what it offers.</summary>
[TestClass]
public sealed class SharedLibraryTests
{
    // The oldest versions that the library runs with. A rise shuts out users: find the call that caused it before raising one.
    private const string GlibcFloor = "2.32";
    private const string LibstdcxxFloor = "3.4.30";

    private static ElfImage Library => new(Package.NativeLibrary);

    [TestMethod]
    public void Library_NeedsOnlyTheCAndCxxRuntime()
    {
        string[] allowed = ["libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];

        Assert.AreEqual("", string.Join(", ", Library.Needed.Except(allowed)));
        Assert.IsEmpty(Library.SearchPaths);
    }

    [TestMethod]
    public void Library_ExportsExactlyTheFunctionsOfTheHeader()
    {
        Assert.IsNotEmpty(Header.Functions);
        Assert.AreEqual(string.Join('\n', Header.Functions.Order()), string.Join('\n', Library.ExportedSymbols.Order()));
    }

    [TestMethod]
    public void Library_AsksForNoNewerRuntimeThanTheReadmeSays()
    {
        Assert.IsLessThanOrEqualTo(Version.Parse(GlibcFloor), Library.HighestVersion("GLIBC_"));
        Assert.IsLessThanOrEqualTo(Version.Parse(LibstdcxxFloor), Library.HighestVersion("GLIBCXX_"));
        string readme = File.ReadAllText(Repository.PathOf("README.md"));
        Assert.Contains($"glibc {GlibcFloor}", readme);
        Assert.Contains($"GLIBCXX_{LibstdcxxFloor}", readme);
    }

    [TestMethod]
    public void Library_IsStripped() => Assert.IsFalse(Library.HasSymbolTable);
}
