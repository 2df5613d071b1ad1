using System.Runtime.Versioning;
using FusedKernels.Perf.Comparison;
using FusedKernels.Perf.Operations;
using FusedKernels.Perf.Peers;

namespace FusedKernels.Perf.Tests;

/// <summary>A comparison from end to end, on a small product and with peers that are played by a shell script.</summary>
[TestClass]
[OSCondition(OperatingSystems.Linux)]
[SupportedOSPlatform("linux")]
public sealed class ComparisonSessionTests
{
    private readonly string _folder = Directory.CreateTempSubdirectory("peers").FullName;

    [TestCleanup]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [TestMethod]
    public void WithoutPeersThereIsOneEntryPerUnit()
    {
        using ComparisonSession session = new(CompareSettings.Quick, 1);
        Workload workload = GemmOperation.Workload(8, 8, 8, new Demand(Units.OfPeak, 0.5));

        Measurement figure = workload.Measure(session).Single();

        Assert.AreEqual("gemm f32 8x8x8", figure.Name);
        Assert.AreEqual(Units.OfPeak, figure.Unit);
        Assert.IsNull(figure.Peer);
        Assert.AreEqual(0.5, figure.Demand?.Limit);
        Assert.IsInRange(1e-9, 1.0, figure.Value);
    }

    [TestMethod]
    public void EveryUnitHasAnEntryPerPeerAndTheFastestPeerComesFirst()
    {
        WriteRunner("""
            time) [ "$PEERS_BLAS" = mkl ] && echo 100 || echo 200 ;;
            """);
        using ComparisonSession session = new(CompareSettings.Quick, 1);
        session.StartPeers(_folder);

        IReadOnlyList<Measurement> figures = GemmOperation.Workload(8, 8, 8).Measure(session);

        CollectionAssert.AreEqual(
            (string[])["of_peak fake 1.0 mkl", "of_peak fake 1.0 openblas", "x_peer fake 1.0 mkl", "x_peer fake 1.0 openblas"],
            figures.Select(figure => $"{figure.Unit} {figure.Peer}").ToArray());
        Assert.AreEqual(1.0, figures[2].PeerValue);
        Assert.AreEqual(2.0, figures[3].Value / figures[2].Value, 1e-9, "a peer that takes twice as long is beaten twice as far");
        Assert.IsGreaterThan(figures[0].PeerValue!.Value, figures[0].Value);
    }

    [TestMethod]
    public void PeerThatRefusesAWorkloadIsLeftOutWithANote()
    {
        WriteRunner("""
            time) echo 1 ;;
            """, prepare: """[ "$PEERS_BLAS" = mkl ] && echo "error ModuleNotFoundError: torch" || echo "ready fake 1.0" """);
        List<string> notes = [];
        using ComparisonSession session = new(CompareSettings.Quick, 1) { Note = notes.Add };
        session.StartPeers(_folder);

        IReadOnlyList<Measurement> figures = GemmOperation.Workload(8, 8, 8).Measure(session);

        Assert.IsTrue(figures.All(figure => figure.Peer == "fake 1.0 openblas"));
        StringAssert.Contains(notes.Single(), "without mkl: ModuleNotFoundError: torch");
    }

    [TestMethod]
    public void PeersThatWereAskedForAndDoNotStartAreAnErrorWithTheirOutput()
    {
        File.WriteAllText(Runner, "#!/bin/sh\necho 'no torch here' >&2\nexit 3\n");
        MakeExecutable();
        using ComparisonSession session = new(CompareSettings.Quick, 1);

        string message = Assert.ThrowsExactly<PeerException>(() => session.StartPeers(_folder)).Message;

        StringAssert.Contains(message, "exit code 3");
        StringAssert.Contains(message, "no torch here");
    }

    [TestMethod]
    public void FolderWithoutARunnerIsAnError()
    {
        using ComparisonSession session = new(CompareSettings.Quick, 1);
        string message = Assert.ThrowsExactly<PeerException>(() => session.StartPeers(_folder)).Message;
        StringAssert.Contains(message, "run.sh");
    }

    [TestMethod]
    public void CallOverheadReportsTimeAndBytes()
    {
        using ComparisonSession session = new(CompareSettings.Quick, 1);

        IReadOnlyList<Measurement> figures = new CallOverheadWorkload("call", 1).Measure(session);

        CollectionAssert.AreEqual((string[])[Units.Nanoseconds, Units.Bytes], figures.Select(figure => figure.Unit).ToArray());
        Assert.IsInRange(1.0, 1e6, figures[0].Value);
        Assert.AreEqual(0.0, figures[1].Value);
    }

    [TestMethod]
    public void FiguresBesideAReferenceAndAccuracyFollowTheOtherFigures()
    {
        using ComparisonSession session = new(CompareSettings.Quick, 1);
        ThroughputWorkload workload = new("op", 1, _ => () => { })
        {
            References = [new(new ThroughputWorkload("op f32", 1, _ => () => Thread.Sleep(20)), Units.TimesFloat32)],
            Accuracy = _ => [(Units.DroppedProbability, 0.25)],
            Demands = [new Demand(Units.TimesFloat32, 0.9)],
        };

        IReadOnlyList<Measurement> figures = workload.Measure(session);

        CollectionAssert.AreEqual(
            (string[])[Units.OfPeak, Units.TimesFloat32, Units.DroppedProbability],
            figures.Select(figure => figure.Unit).ToArray());
        Assert.IsGreaterThan(1.0, figures[1].Value, "doing nothing is faster than sleeping");
        Assert.AreEqual(0.9, figures[1].Demand?.Limit);
        StringAssert.StartsWith(figures[1].Detail, "op f32: ");
        Assert.AreEqual(0.25, figures[2].Value);
    }

    [TestMethod]
    public void FiguresBesideAReferenceArePerUnitOfWork()
    {
        using ComparisonSession session = new(CompareSettings.Quick, 1);
        Action sleep = () => Thread.Sleep(20);
        ThroughputWorkload reference = new("a hundredth of the work", 1, _ => sleep);
        ThroughputWorkload workload = new("op", 100, _ => sleep)
        {
            References = [new(reference, Units.TimesFloat32), new(reference, Units.TimePerFlopOfS2048)],
        };

        IReadOnlyList<Measurement> figures = workload.Measure(session);

        // A hundred times the work in the same time, or, if a sleep takes long, in a time of the same order.
        Assert.IsInRange(10.0, 1000.0, figures.Single(figure => figure.Unit == Units.TimesFloat32).Value);
        Assert.IsInRange(0.001, 0.1, figures.Single(figure => figure.Unit == Units.TimePerFlopOfS2048).Value);
    }

    [TestMethod]
    public void DecodingIsHeldAgainstTheReadBandwidthAndCanBeRepeated()
    {
        using ComparisonSession session = new(CompareSettings.Quick with { MaxRepetitions = 3 }, 1);
        Workload workload = DecodeOperation.Step(2, 4, 2, 600, 16, new Demand(Units.OfBandwidth, 0.85));

        Measurement figure = workload.Measure(session).Single();

        Assert.AreEqual("decode f32 B2 H4 KV2 K600 d16", figure.Name);
        Assert.AreEqual(Units.OfBandwidth, figure.Unit);
        Assert.IsGreaterThan(0.0, figure.Value);
        Assert.AreEqual(0.85, figure.Demand?.Limit);
    }

    [TestMethod]
    public void GrowthReportsEverySizeAndHowFarTheyLieApart()
    {
        using ComparisonSession session = new(CompareSettings.Quick, 1);
        int steps = 0;
        session.Step = () => steps++;
        GrowthWorkload workload = CutCrossEntropyOperation.Growth(
            [64, 1024, 2048], 50, 16, new Demand(Units.TimeSpread, 1.1), new Demand(Units.WorkspaceMegabytes, 64));

        IReadOnlyList<Measurement> figures = workload.Measure(session);

        CollectionAssert.AreEqual(
            (string[])
            [
                "cce f32 N64 V50 D16 loss_and_gradient exact x_N1024",
                "cce f32 N64 V50 D16 loss_and_gradient exact workspace_MB",
                "cce f32 N1024 V50 D16 loss_and_gradient exact x_N1024",
                "cce f32 N1024 V50 D16 loss_and_gradient exact workspace_MB",
                "cce f32 N2048 V50 D16 loss_and_gradient exact x_N1024",
                "cce f32 N2048 V50 D16 loss_and_gradient exact workspace_MB",
                "cce f32 V50 D16 loss_and_gradient exact growth max/min",
            ],
            figures.Select(figure => $"{figure.Name} {figure.Unit}").ToArray());
        double[] times = [figures[0].Value, figures[2].Value, figures[4].Value];
        Assert.AreEqual(1.0, times[1]);
        Assert.AreEqual(times.Max() / times.Min(), figures[^1].Value);
        Assert.AreEqual(1.1, figures[^1].Demand?.Limit);
        Assert.IsLessThan(figures[3].Value, figures[1].Value, "each size starts without a workspace");
        Assert.AreEqual(session.Context.WorkspaceBytes / 1e6, figures[5].Value);
        Assert.AreEqual(64.0, figures[5].Demand?.Limit);
        Assert.AreEqual(workload.Steps(session), steps);
    }

    private string Runner => Path.Combine(_folder, "run.sh");

    private void WriteRunner(string answers, string prepare = """echo "ready fake 1.0" """)
    {
        File.WriteAllText(Runner, $"""
            #!/bin/sh
            echo started
            while read -r command arguments; do
              case $command in
                prepare) {prepare} ;;
                {answers}
              esac
            done
            """);
        MakeExecutable();
    }

    private void MakeExecutable() =>
        File.SetUnixFileMode(Runner, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
}
