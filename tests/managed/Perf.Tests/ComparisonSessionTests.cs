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
