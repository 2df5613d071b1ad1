using System.Text.Json;

namespace FusedKernels.Packaging.Tests;

/// <summary>
/// PowerShell is not on every machine that runs these tests, so build.ps1 is parsed with tree-sitter's grammar instead.
/// </summary>
[TestClass]
public sealed class PowerShellScriptTests
{
    private static readonly string ParserFolder = Repository.PathOf("tests", "managed", "Packaging.Tests", "powershell");
    private static readonly string Script = Repository.PathOf("build.ps1");

    private sealed record Parsed(string[] Problems, string[] Tasks, string[] Handled);

    [ClassInitialize]
    public static void InstallParser(TestContext context)
    {
        Tool.Require("node", "parse build.ps1");
        Tool.Require("npm", "parse build.ps1");
        Tool.Run("npm", ParserFolder, "ci", "--prefer-offline", "--no-progress");
    }

    [TestMethod]
    public void BuildScript_IsValidPowerShellAndHandlesItsFourTasks()
    {
        Parsed parsed = Parse(Script);

        Assert.AreEqual("", string.Join('\n', parsed.Problems));
        CollectionAssert.AreEqual(new[] { "build", "test", "perf", "pack" }, parsed.Tasks);
        CollectionAssert.AreEqual(parsed.Tasks, parsed.Handled);
    }

    [TestMethod]
    [DataRow("switch ($Task) {", "switch ($Task {", DisplayName = "a bracket is missing")]
    [DataRow("finally {", "finally", DisplayName = "a brace is missing")]
    [DataRow("'Release', 'Debug'", "'Release', 'Debug", DisplayName = "a quote is missing")]
    [DataRow("#>", "", DisplayName = "the help comment has no end")]
    public void BrokenCopy_IsRejected(string part, string replacement)
    {
        string script = File.ReadAllText(Script);
        Assert.Contains(part, script);
        string broken = Path.GetTempFileName();
        try
        {
            File.WriteAllText(broken, script.Replace(part, replacement, StringComparison.Ordinal));

            Assert.IsNotEmpty(Parse(broken).Problems);
        }
        finally
        {
            File.Delete(broken);
        }
    }

    private static Parsed Parse(string script)
    {
        // The parser is one huge WebAssembly function: optimising it takes 8 s, the baseline compiler 0.1 s.
        string json = Tool.Run("node", ParserFolder, "--liftoff-only", "parse.mjs", script);
        return JsonSerializer.Deserialize<Parsed>(json, JsonSerializerOptions.Web)!;
    }
}
