using System.Text.RegularExpressions;

namespace FusedKernels.Packaging.Tests;

/// <summary>The README's program does what the README says, and no page points to a file that is not there.</summary>
[TestClass]
public sealed partial class DocumentationTests
{
    private static readonly string ReadmePath = Repository.PathOf("README.md");

    [TestMethod]
    [DataRow("README.md")]
    [DataRow("docs/attention.md")]
    [DataRow("docs/cut-cross-entropy.md")]
    public void ExamplesOfAPage_CompileAgainstThePackageAndPrintWhatThePageShows(string page)
    {
        string text = File.ReadAllText(Repository.PathOf(page));
        string program = string.Concat(Program().Matches(text).Select(match => match.Groups[1].Value));
        string output = string.Concat(Output().Matches(text).Select(match => match.Groups[1].Value));
        Assert.AreNotEqual("", program);
        Assert.AreNotEqual("", output);

        Tool.Result result = ConsumerProject.Start(new ConsumerProject(program).Publish());

        Assert.AreEqual(0, result.ExitCode, result.ToString());
        Assert.AreEqual(output.Trim(), result.Output.Trim());
    }

    [TestMethod]
    public void ReadmeCommands_AreTheOnesThatCiRuns()
    {
        string readme = File.ReadAllText(ReadmePath);
        string ci = File.ReadAllText(Repository.PathOf(".ci", "run"));

        foreach (string command in new[] { "dotnet run -c Release --project managed/samples/LanguageModel", "dotnet test Interop.sln -c Release" })
        {
            Assert.Contains($"{command}\n", readme);
            Assert.Contains($"{command} -", ci);
        }
    }

    [TestMethod]
    public void LinksAndNamedFiles_Exist()
    {
        string[] pages = [ReadmePath, .. Directory.GetFiles(Repository.PathOf("docs"), "*.md")];
        Assert.IsGreaterThan(1, pages.Length);

        IEnumerable<string> dangling =
            from page in pages from target in LocalTargets(page) where !Path.Exists(target) select $"{page}: {target}";

        Assert.AreEqual("", string.Join('\n', dangling));
    }

    [TestMethod]
    public void QuotedSources_AreWhatTheFilesSay()
    {
        Match[] quotes = Directory.GetFiles(Repository.PathOf("docs"), "*.md")
            .SelectMany(page => Quote().Matches(File.ReadAllText(page))).ToArray();
        Assert.IsGreaterThan(4, quotes.Length);

        IEnumerable<string> foreign =
            from quote in quotes
            let file = quote.Groups["file"].Value
            let source = File.ReadAllText(Repository.PathOf(file))
            from part in quote.Groups["text"].Value.Split("...\n")
            where !source.Contains(part, StringComparison.Ordinal)
            select $"{file} does not hold:\n{part}";

        Assert.AreEqual("", string.Join('\n', foreign));
    }

    [TestMethod]
    public void OperatorTable_NamesExistingTypesAndEveryOperatorOfTheHeader()
    {
        Match[] rows = OperatorRow().Matches(File.ReadAllText(ReadmePath)).ToArray();
        string assembly = Package.Read(Path.Combine("lib", "net10.0", "FusedKernels.xml"));
        string[] others = ["fk_context_*", "fk_last_error", "fk_status_name", "fk_abi_version", "fk_build_info", "fk_cpu_isa",
            "fk_struct_layout", "fk_filter_report_init"];

        string[] unknownTypes = [.. rows.Select(row => $"\"T:FusedKernels.{row.Groups["type"].Value}\"")
            .Where(type => !assembly.Contains(type, StringComparison.Ordinal))];
        string[] named = [.. rows.Select(row => row.Groups["function"].Value), .. others];
        string[] unnamed = [.. Header.Functions.Where(function => !named.Any(name => Covers(name, function)))];
        string[] unknown = [.. named.Where(name => !Header.Functions.Any(function => Covers(name, function)))];

        Assert.AreEqual("", string.Join(", ", unknownTypes), "types in the table that the assembly lacks");
        Assert.AreEqual("", string.Join(", ", unnamed), "functions of the header that the table lacks");
        Assert.AreEqual("", string.Join(", ", unknown), "functions in the table that the header lacks");
    }

    private static bool Covers(string name, string function) =>
        name.EndsWith('*') ? function.StartsWith(name[..^1], StringComparison.Ordinal) : name == function;

    // Links are relative to their page, paths in backticks to the root of the repository.
    private static IEnumerable<string> LocalTargets(string page)
    {
        string text = CodeBlock().Replace(File.ReadAllText(page), "");
        IEnumerable<string> links = Link().Matches(text).Select(match => match.Groups[1].Value)
            .Where(link => !link.Contains("://", StringComparison.Ordinal))
            .Select(link => Path.Combine(Path.GetDirectoryName(page)!, link));
        IEnumerable<string> paths = RepositoryPath().Matches(text).Select(match => Repository.PathOf(match.Groups[1].Value));
        return links.Concat(paths);
    }

    [GeneratedRegex(@"^```csharp\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Program();

    [GeneratedRegex(@"^```text\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Output();

    [GeneratedRegex(@"^\| [^|]+ \| `(?<type>\w+)` \| `(?<function>fk_\w+\*?)` \|", RegexOptions.Multiline)]
    private static partial Regex OperatorRow();

    // A code block after a line that ends in a path and a colon; "..." on its own line stands for what is left out.
    [GeneratedRegex(@"`(?<file>[\w./-]+)`:\n\n```\w+\n(?<text>.*?)```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Quote();

    [GeneratedRegex(@"^```.*?^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex CodeBlock();

    [GeneratedRegex(@"\]\(([^)#]+)[^)]*\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"`((?:native|managed|tests|perf|docs|\.ci)/[\w./-]*)`")]
    private static partial Regex RepositoryPath();
}
