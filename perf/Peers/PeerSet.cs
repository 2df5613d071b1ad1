using System.ComponentModel;

namespace FusedKernels.Perf.Peers;

/// <summary>The peers that are set up on this machine: one process per BLAS library.</summary>
internal sealed class PeerSet : IDisposable
{
    /// <summary>Names a folder with the runner where the option does not.</summary>
    public const string EnvironmentVariable = "FUSEDKERNELS_PEERS";

    private const string RunnerName = "run.sh";
    private static readonly string[] BlasLibraries = ["openblas", "mkl"];
    private readonly List<PeerProcess> _processes = [];

    private PeerSet()
    {
    }

    /// <summary>The running peers; empty when none are set up.</summary>
    public IReadOnlyList<PeerProcess> Processes => _processes;

    /// <summary>
    /// Starts the peers from <paramref name="folder"/>, else from the folder that the environment variable names, else
    /// from <c>../shared/peers</c> beside the repository, where that exists.
    /// </summary>
    /// <param name="folder">A folder with a <c>run.sh</c> that runs a Python script with the peers, or null.</param>
    /// <param name="threads">Threads of each peer.</param>
    /// <param name="note">Told why there are no peers when nobody asked for them by name.</param>
    /// <exception cref="PeerException">Peers were asked for by name and do not start.</exception>
    public static PeerSet Start(string? folder, int threads, Action<string> note)
    {
        string? asked = folder ?? Environment.GetEnvironmentVariable(EnvironmentVariable);
        PeerSet set = new();
        string? runner = FindRunner(asked);
        try
        {
            // One after another: a runner may rearrange its mounts, which a peer that has started no longer needs.
            foreach (string blas in runner is null ? [] : BlasLibraries)
            {
                set._processes.Add(new PeerProcess(runner!, blas, threads));
            }
        }
        catch (Exception exception) when (asked is null && exception is PeerException or Win32Exception)
        {
            set.Dispose();
            note($"No peers: {exception.Message}");
        }
        catch
        {
            set.Dispose();
            throw;
        }

        return set;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _processes.ForEach(process => process.Dispose());
        _processes.Clear();
    }

    private static string? FindRunner(string? asked)
    {
        if (asked is not null)
        {
            string runner = Path.Combine(Path.GetFullPath(asked), RunnerName);
            return File.Exists(runner)
                ? runner
                : throw new PeerException(
                    $"The peers' folder '{asked}' holds no {RunnerName}. Name the folder that does, or none.");
        }

        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Interop.sln")))
            {
                string runner = Path.GetFullPath(Path.Combine(folder.FullName, "..", "shared", "peers", RunnerName));
                return File.Exists(runner) ? runner : null;
            }
        }

        return null;
    }
}
