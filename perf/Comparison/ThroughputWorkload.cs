using System.Globalization;
using FusedKernels.Perf.Machine;
using FusedKernels.Perf.Peers;

namespace FusedKernels.Perf.Comparison;

/// <summary>An operator on one shape, measured against one of the machine's limits and against the peers.</summary>
/// <param name="name">The name in the report.</param>
/// <param name="work">Floating-point operations of one run, or bytes where <see cref="LimitedByMemory"/> is set.</param>
/// <param name="prepare">See <see cref="OperatorWorkload.Prepare"/>.</param>
internal sealed class ThroughputWorkload(string name, double work, Func<FusedContext, Action> prepare)
    : OperatorWorkload(name, work, prepare)
{
    /// <summary>Measured against the read bandwidth instead of the FMA peak.</summary>
    public bool LimitedByMemory { get; init; }

    /// <summary>Whether the peak of resident memory is reported too.</summary>
    public bool ReportsMemory { get; init; }

    /// <summary>The operation and arguments that <c>peer.py</c> prepares for the same work, if a peer has it.</summary>
    public string? PeerRequest { get; init; }

    /// <summary>What takes turns with this workload, for figures relative to it.</summary>
    public IReadOnlyList<Reference> References { get; init; } = [];

    /// <summary>What else the report tells about the operator's results, by runs of its own before the timings.</summary>
    public Func<FusedContext, IEnumerable<(string Unit, double Value)>>? Accuracy { get; init; }

    /// <inheritdoc/>
    public override int Steps(ComparisonSession session) =>
        1 + session.Settings.RepetitionsOf(Work) + (ReportsMemory ? 1 : 0);

    /// <inheritdoc/>
    public override IReadOnlyList<Measurement> Measure(ComparisonSession session)
    {
        (string Unit, double Value)[] accuracy = [.. Accuracy?.Invoke(session.Context) ?? []];
        GC.Collect(); // its arguments make room for the ones below
        Contestant library = new("FusedKernels", PrepareTimer(session.Context));
        Contestant[] references = [.. References.Select(
            reference => new Contestant(reference.Workload.Name, reference.Workload.PrepareTimer(session.Context)))];
        IReadOnlyList<(PeerProcess Process, Contestant Turns)> peers = PreparePeers(session);
        session.Step();

        IMachineLoop loop = LimitedByMemory ? session.ReadBandwidth : session.FmaPeak;
        TakeTurns(session, Work, loop, [library, .. references, .. peers.Select(peer => peer.Turns)]);
        if (ReportsMemory)
        {
            library.Megabytes = PeakMemory.MegabytesBeyondArguments(Name, session.Threads);
            foreach ((PeerProcess process, Contestant turns) in peers)
            {
                turns.Megabytes = process.Memory();
            }

            session.Step();
        }

        return
        [
            .. Figures(library, [.. peers.Select(peer => peer.Turns).OrderBy(peer => peer.MedianSeconds)], loop),
            .. References.Zip(references, (reference, turns) => FigureBeside(reference, library, turns, loop)),
            .. accuracy.Select(figure => Report(figure.Unit, figure.Value)),
        ];
    }

    private List<(PeerProcess Process, Contestant Turns)> PreparePeers(ComparisonSession session)
    {
        List<(PeerProcess, Contestant)> peers = [];
        if (PeerRequest is null) return peers;

        foreach (PeerProcess process in session.Peers)
        {
            try
            {
                string peerName = process.Prepare(PeerRequest);
                peers.Add((process, new Contestant(peerName, process.Time)));
            }
            catch (PeerException exception)
            {
                session.Note($"{Name}: without {process.Blas}: {exception.Message}");
            }
        }

        return peers;
    }

    // One entry per unit and peer, the fastest peer first.
    private IEnumerable<Measurement> Figures(Contestant library, IReadOnlyList<Contestant> peers, IMachineLoop loop)
    {
        string detail = Describe(library, Work, loop);
        IEnumerable<Measurement> figures = PerPeer(loop.Unit, peers, of => of.ShareOfLimit(Work), library, detail);
        figures = figures.Concat(peers.Select(peer => Report(
            Units.TimesPeer, library.SpeedOver(peer), peer.Name, 1, Describe(peer, Work, loop))));
        return ReportsMemory
            ? figures.Concat(PerPeer(Units.Megabytes, peers, of => of.Megabytes!.Value, library, ""))
            : figures;
    }

    private IEnumerable<Measurement> PerPeer(
        string unit, IReadOnlyList<Contestant> peers, Func<Contestant, double> figure, Contestant library, string detail) =>
        peers.Count == 0
            ? [Report(unit, figure(library), detail: detail)]
            : peers.Select(peer => Report(unit, figure(library), peer.Name, figure(peer), detail));

    private Measurement FigureBeside(Reference reference, Contestant library, Contestant other, IMachineLoop loop)
    {
        double otherWork = reference.Workload.Work;
        double figure = Units.MoreIsBetter(reference.Unit)
            ? library.SpeedOver(other) * Work / otherWork
            : other.SpeedOver(library) * otherWork / Work;
        return Report(reference.Unit, figure, detail: Describe(other, otherWork, loop));
    }

    private string Describe(Contestant contestant, double work, IMachineLoop loop) => string.Create(
        CultureInfo.InvariantCulture,
        $"{contestant.Name}: {contestant.MedianSeconds * 1e3:F1} ms, {work / contestant.MedianSeconds / 1e9:F1} of "
        + $"{contestant.MedianLimit / 1e9:F1} {(LimitedByMemory ? "GB/s" : "Gflop/s")} {loop.Name}");
}
