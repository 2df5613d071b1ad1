using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace FusedKernels.Perf.Peers;

/// <summary>
/// A peer library in a process of its own, which <c>peer.py</c> runs: it times one call per request, so that its timings
/// and the library's own can alternate.
/// </summary>
internal sealed class PeerProcess : IDisposable
{
    /// <summary>The slowest answer is the first import of a large library from a cold disk.</summary>
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromMinutes(5);

    /// <summary>OpenMP's and OpenBLAS's workers spin for some 30 ms after a call and would slow down what follows.</summary>
    private static readonly TimeSpan SettleTime = TimeSpan.FromMilliseconds(100);

    private readonly Process _process;
    private readonly StringBuilder _errors = new();

    /// <summary>Starts the peer and waits until it listens.</summary>
    /// <param name="runner">Runs a Python script: <c>runner SCRIPT ARGUMENT...</c>, with the BLAS of PEERS_BLAS.</param>
    /// <param name="blas">The BLAS library that it should use: <c>openblas</c> or <c>mkl</c>.</param>
    /// <param name="threads">How many threads it should use.</param>
    /// <exception cref="PeerException">It does not start: the message holds what it printed.</exception>
    public PeerProcess(string runner, string blas, int threads)
    {
        Blas = blas;
        string count = threads.ToString(CultureInfo.InvariantCulture);
        string script = Path.Combine(AppContext.BaseDirectory, "Peers", "peer.py");
        _process = Process.Start(new ProcessStartInfo(runner, [script, count])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment =
            {
                ["PEERS_BLAS"] = blas,
                ["OMP_NUM_THREADS"] = count,
                ["OPENBLAS_NUM_THREADS"] = count,
                ["MKL_NUM_THREADS"] = count,
            },
        })!;
        _process.ErrorDataReceived += (_, line) => CollectError(line.Data);
        _process.BeginErrorReadLine();
        try
        {
            _ = Answer();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The BLAS library that the peer uses.</summary>
    public string Blas { get; }

    /// <summary>Has the peer allocate the arguments of an operation and run it once.</summary>
    /// <param name="request">The operation's name and arguments, as <c>peer.py</c> lists them.</param>
    /// <returns>The peer's name for the report: library, version and BLAS.</returns>
    /// <exception cref="PeerException">The peer cannot: the message says why.</exception>
    public string Prepare(string request)
    {
        string answer = Ask($"prepare {request}");
        Thread.Sleep(SettleTime);
        const string ready = "ready ";
        return answer.StartsWith(ready, StringComparison.Ordinal)
            ? $"{answer[ready.Length..]} {Blas}"
            : throw new PeerException($"the peer answered '{answer}' to '{request}'");
    }

    /// <summary>Times one call of what was prepared, and waits until the peer's threads rest again.</summary>
    /// <returns>Seconds, by the peer's own clock.</returns>
    public double Time()
    {
        double seconds = double.Parse(Ask("time"), CultureInfo.InvariantCulture);
        Thread.Sleep(SettleTime);
        return seconds;
    }

    /// <summary>The peak of resident memory of one call beyond its inputs and outputs, in 10^6 bytes.</summary>
    public double Memory() => double.Parse(Ask("memory"), CultureInfo.InvariantCulture);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        _process.Dispose();
    }

    private string Ask(string command)
    {
        _process.StandardInput.WriteLine(command);
        _process.StandardInput.Flush();
        string answer = Answer();
        const string error = "error ";
        return answer.StartsWith(error, StringComparison.Ordinal) ? throw new PeerException(answer[error.Length..]) : answer;
    }

    private string Answer()
    {
        Task<string?> line = _process.StandardOutput.ReadLineAsync();
        if (!line.Wait(AnswerLimit))
        {
            throw new PeerException($"no answer within {AnswerLimit.TotalMinutes} minutes");
        }

        if (line.Result is null)
        {
            _process.WaitForExit(); // also waits for the rest of its error output
            throw new PeerException($"the peer ended with exit code {_process.ExitCode}: {_errors.ToString().Trim()}");
        }

        return line.Result;
    }

    private void CollectError(string? line)
    {
        if (line is not null)
        {
            _ = _errors.AppendLine(line);
        }
    }
}
