namespace FusedKernels.NativeTests;

/// <summary>One row per native test; all of them run once, before the first row reports.</summary>
[TestClass]
public sealed class NativeTests
{
    private static IReadOnlyDictionary<string, CTest.Result> _results = new Dictionary<string, CTest.Result>();

    public static IEnumerable<string> Names => CTest.List();

    [ClassInitialize]
    public static void RunAll(TestContext _) => _results = CTest.RunAll();

    [TestMethod, DynamicData(nameof(Names))]
    public void Passes(string name)
    {
        Assert.IsTrue(_results.TryGetValue(name, out CTest.Result? result), "CTest did not report this test.");
        if (result.Skipped) Assert.Inconclusive(result.Output);
        Assert.IsTrue(result.Passed, result.Output);
    }

    /// <summary>Without it, an empty list would look like success.</summary>
    [TestMethod]
    public void ThereAreNativeTests() => Assert.IsNotEmpty(CTest.List());
}
