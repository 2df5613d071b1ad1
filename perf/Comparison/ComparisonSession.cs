using FusedKernels.Perf.Machine;
using FusedKernels.Perf.Peers;

namespace FusedKernels.Perf.Comparison;

/// <summary>What the workloads of one run share: the context, the machine's loops, the peers and the progress.</summary>
internal sealed class ComparisonSession : IDisposable
{
    private readonly Lazy<ReadBandwidth> _readBandwidth = new();
    private PeerSet? _peers;

    /// <summary>Creates the context that is measured.</summary>
    /// <param name="settings">How long and how often to measure.</param>
    /// <param name="threads">Threads of the library, the machine's loops and the peers; 0: all processors.</param>
    public ComparisonSession(CompareSettings settings, int threads)
    {
        Settings = settings;
        Context = FusedContext.Cpu(threads);
    }

    /// <summary>How long and how often to measure.</summary>
    public CompareSettings Settings { get; }

    /// <summary>The context that the library's operators run in.</summary>
    public FusedContext Context { get; }

    /// <summary>The threads of the library, the machine's loops and the peers.</summary>
    public int Threads => Context.Threads;

    /// <summary>What every workload with a peer request is compared with; none before <see cref="StartPeers"/>.</summary>
    public IReadOnlyList<PeerProcess> Peers => _peers?.Processes ?? [];

    /// <summary>Called after each step that takes a while.</summary>
    public Action Step { get; set; } = () => { };

    /// <summary>Receives what the user should know beside the figures.</summary>
    public Action<string> Note { get; set; } = _ => { };

    /// <summary>The FMA loop.</summary>
    public FmaPeak FmaPeak { get; } = new();

    /// <summary>The read-only bandwidth loop; its buffer is allocated at the first use.</summary>
    public ReadBandwidth ReadBandwidth => _readBandwidth.Value;

    /// <summary>Starts the peers that are set up on this machine.</summary>
    /// <param name="folder">Where they are; null for the default places.</param>
    /// <exception cref="PeerException">Peers were asked for by name and do not start.</exception>
    public void StartPeers(string? folder) => _peers = PeerSet.Start(folder, Threads, Note);

    /// <inheritdoc/>
    public void Dispose()
    {
        _peers?.Dispose();
        Context.Dispose();
        if (_readBandwidth.IsValueCreated)
        {
            _readBandwidth.Value.Dispose();
        }
    }
}
