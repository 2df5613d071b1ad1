using System.Diagnostics;
using System.Text;

namespace FusedKernels.Packaging.Tests;

/// <summary>Runs a program to its end and keeps what it printed.</summary>
internal static class Tool
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    internal sealed record Result(int ExitCode, string Output, string Errors)
    {
        public override string ToString() => $"exit code {ExitCode}\n{Output}\n{Errors}";
    }

    /// <summary>Runs the program and fails the test when it does not end with exit code 0.</summary>
    public static string Run(string program, string workingDirectory, params string[] arguments)
    {
        Result result = Start(program, workingDirectory, arguments);
        Assert.AreEqual(0, result.ExitCode, $"{program} {string.Join(' ', arguments)}: {result}");
        return result.Output;
    }

    /// <summary>Runs the program, whatever its exit code will be.</summary>
    public static Result Start(string program, string workingDirectory, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = workingDirectory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        RemoveOuterBuild(start.Environment);
        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        // A build node that stays would keep the pipes open that we read to their end.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";

        using Process process = Process.Start(start)!;
        StringBuilder output = new(), errors = new();
        process.OutputDataReceived += (_, line) => output.AppendLine(line.Data);
        process.ErrorDataReceived += (_, line) => errors.AppendLine(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        if (!process.WaitForExit(Limit))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{program} {string.Join(' ', arguments)} took over {Limit}:\n{output}\n{errors}");
        }

        process.WaitForExit(); // the overload without a limit is the one that waits for the rest of the output
        return new Result(process.ExitCode, output.ToString(), errors.ToString());
    }

    /// <summary>
    /// Stops the test when a program that the product does not need is missing. A CI machine must have it: there the test fails.
    /// </summary>
    public static void Require(string program, string purpose)
    {
        string[] folders = (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(Path.PathSeparator);
        if (folders.Any(folder => File.Exists(Path.Combine(folder, program))))
        {
            return;
        }

        string message = $"{program} is not installed; it is needed only to {purpose}.";
        if (Environment.GetEnvironmentVariable("CI") is not null)
        {
            Assert.Fail(message);
        }

        Assert.Inconclusive(message);
    }

    // A test host that an MSBuild started inherits its settings, and they would leak into the builds that these tests start.
    private static void RemoveOuterBuild(IDictionary<string, string?> environment)
    {
        string[] leaking = [.. environment.Keys.Where(name => name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase))];
        foreach (string name in leaking)
        {
            environment.Remove(name);
        }
    }
}
