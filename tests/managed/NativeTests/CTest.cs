using System.Diagnostics;
using System.Reflection;
using System.Text.Json;
using System.Xml.Linq;

namespace FusedKernels.NativeTests;

/// <summary>CMake's test runner on the folder in which the build of this project left the native tests.</summary>
internal static class CTest
{
    private static readonly string BuildDirectory = Assembly.GetExecutingAssembly()
        .GetCustomAttributes<AssemblyMetadataAttribute>().Single(data => data.Key == "NativeBuildDirectory").Value!;

    public sealed record Result(bool Passed, bool Skipped, string Output);

    /// <summary>The names of all tests.</summary>
    public static IReadOnlyList<string> List()
    {
        using JsonDocument document = JsonDocument.Parse(Run("--show-only=json-v1"));
        return [.. document.RootElement.GetProperty("tests").EnumerateArray().Select(test => test.GetProperty("name").GetString()!)];
    }

    /// <summary>Runs all tests once, each in a process of its own.</summary>
    public static IReadOnlyDictionary<string, Result> RunAll()
    {
        string report = Path.Combine(Path.GetTempPath(), $"fusedkernels-ctest-{Environment.ProcessId}.xml");
        try
        {
            Run("--output-junit", report, "--parallel", $"{Environment.ProcessorCount}", "--timeout", "600");
            return XDocument.Load(report).Descendants("testcase").ToDictionary(
                test => test.Attribute("name")!.Value,
                test => new Result(
                    test.Attribute("status")!.Value == "run", test.Element("skipped") is not null,
                    test.Element("system-out")?.Value ?? ""));
        }
        finally
        {
            File.Delete(report);
        }
    }

    private static string Run(params string[] arguments)
    {
        ProcessStartInfo start = new("ctest", ["--test-dir", BuildDirectory, .. arguments]) { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output;
    }
}
