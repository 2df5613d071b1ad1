using System.Diagnostics;
using System.Reflection;

namespace FusedKernels.Tests.Support;

/// <summary>Runs a program to its end and keeps what it printed.</summary>
internal static class ChildProcess
{
    public static readonly string RepositoryRoot = Assembly.GetExecutingAssembly()
        .GetCustomAttributes<AssemblyMetadataAttribute>().Single(metadata => metadata.Key == "RepositoryRoot").Value!;

    public sealed record Result(int ExitCode, string Output);

    /// <summary>Runs <see cref="ChildProgram"/> from a folder that holds this assembly.</summary>
    public static Result RunTestAssembly(
        string command, string? folder = null, params (string Name, string? Value)[] environment) =>
        Run("dotnet", [Path.Combine(folder ?? AppContext.BaseDirectory, "FusedKernels.Tests.dll"), command], environment);

    /// <summary>Runs a program to its end. A variable without a value is removed from the environment.</summary>
    public static Result Run(string program, string[] arguments, params (string Name, string? Value)[] environment)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string? value) in environment)
        {
            if (value is null) start.Environment.Remove(name);
            else start.Environment[name] = value;
        }
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return new Result(process.ExitCode, output + errors.Result);
    }
}
