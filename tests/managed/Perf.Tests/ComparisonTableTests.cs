using FusedKernels.Perf.Comparison;
using Spectre.Console;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class ComparisonTableTests
{
    [TestMethod]
    public void EachMeasurementIsARowThatLeavesOutWhatTheRowAboveSays()
    {
        Measurement first = new("gemm", 0.8766, Units.OfPeak, "mkl", 0.7) { Demand = new Demand(Units.OfPeak, 0.85) };
        using StringWriter text = new();

        ComparisonTable.Write(
            Console(text),
            [
                first,
                first with { Peer = "openblas", PeerValue = 0.5 },
                new("gemm", 1.2523, Units.TimesPeer, "mkl", 1),
                new("[call]", 119.64, Units.Nanoseconds),
                new("[call]", 0, Units.Bytes),
                new("filter", 0.000123, Units.DEmbeddingsError),
            ]);

        string[][] rows = [.. text.ToString().Split('\n').Skip(3).Select(Cells).Where(cells => cells.Length > 0)];
        CollectionAssert.AreEqual((string[])["gemm", "of_peak", "0.877", "≥", "0.85", "0.700", "mkl"], rows[0]);
        CollectionAssert.AreEqual((string[])["0.500", "openblas"], rows[1]);
        CollectionAssert.AreEqual((string[])["x_peer", "1.252", "1.000", "mkl"], rows[2]);
        CollectionAssert.AreEqual((string[])["[call]", "ns", "119.6"], rows[3]);
        CollectionAssert.AreEqual((string[])["B", "0"], rows[4]);
        CollectionAssert.AreEqual((string[])["filter", "d_embeddings_error", "1.2e-4"], rows[5]);
    }

    private static string[] Cells(string row) =>
        row.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static IAnsiConsole Console(TextWriter writer)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = AnsiSupport.No,
            ColorSystem = ColorSystemSupport.NoColors,
        });
        console.Profile.Width = 200;
        return console;
    }
}
