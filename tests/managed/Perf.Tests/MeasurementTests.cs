using System.Text.Json;
using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class MeasurementTests
{
    [TestMethod]
    public void JsonIsAnArrayOfExactlyTheFiveFields()
    {
        Measurement[] measurements =
        [
            new("gemm", 0.875, Units.OfPeak) { Detail = "for the table", Demand = new Demand(Units.OfPeak, 0.85) },
            new("cce", 1.5, Units.TimesPeer, "torch 2.6.0 mkl", 1),
        ];

        JsonElement[] entries = [.. JsonDocument.Parse(Measurement.ToJson(measurements)).RootElement.EnumerateArray()];

        Assert.HasCount(2, entries);
        foreach (JsonElement entry in entries)
        {
            CollectionAssert.AreEquivalent(
                (string[])["name", "value", "unit", "peer", "peer_value"],
                entry.EnumerateObject().Select(field => field.Name).ToArray());
        }

        Assert.AreEqual("gemm", entries[0].GetProperty("name").GetString());
        Assert.AreEqual(0.875, entries[0].GetProperty("value").GetDouble());
        Assert.AreEqual("of_peak", entries[0].GetProperty("unit").GetString());
        Assert.AreEqual(JsonValueKind.Null, entries[0].GetProperty("peer").ValueKind);
        Assert.AreEqual(JsonValueKind.Null, entries[0].GetProperty("peer_value").ValueKind);
        Assert.AreEqual("torch 2.6.0 mkl", entries[1].GetProperty("peer").GetString());
        Assert.AreEqual(1.0, entries[1].GetProperty("peer_value").GetDouble());
    }

    [TestMethod]
    [DataRow(Units.OfPeak, 0.85, 0.85, true)]
    [DataRow(Units.OfPeak, 0.85, 0.84, false)]
    [DataRow(Units.OfBandwidth, 0.5, 0.6, true)]
    [DataRow(Units.TimesPeer, 1, 0.9, false)]
    [DataRow(Units.TimesFloat32, 0.9, 0.95, true)]
    [DataRow(Units.TimePerFlopOfS2048, 1.1, 1.2, false)]
    [DataRow(Units.TimePerFlopOfFull, 1.3, 1.2, true)]
    [DataRow(Units.TimeSpread, 1.1, 1.2, false)]
    [DataRow(Units.WorkspaceMegabytes, 64, 63, true)]
    [DataRow(Units.Nanoseconds, 150, 151, false)]
    [DataRow(Units.Bytes, 0, 0, true)]
    [DataRow(Units.Megabytes, 64, 63, true)]
    public void DemandsAreFloorsForSpeedAndCeilingsForCost(string unit, double limit, double value, bool met) =>
        Assert.AreEqual(met, new Demand(unit, limit).IsMetBy(value));

    [TestMethod]
    public void PlotDrawsOneBarPerShareWithItsDemandAndPeers()
    {
        string svg = ComparisonPlot.ToSvg(
        [
            new("first <op>", 0.5, Units.OfPeak, "a", 0.4) { Demand = new Demand(Units.OfPeak, 0.75) },
            new("first <op>", 0.5, Units.OfPeak, "b", 0.3) { Demand = new Demand(Units.OfPeak, 0.75) },
            new("second", 0.25, Units.OfBandwidth),
            new("filtered", 1.7, Units.OfPeak),
            new("second", 12, Units.Megabytes),
        ]);

        System.Xml.Linq.XElement root = System.Xml.Linq.XElement.Parse(svg);
        System.Xml.Linq.XNamespace ns = "http://www.w3.org/2000/svg";
        string[] barWidths = [.. root.Elements(ns + "rect").Skip(1).Select(bar => bar.Attribute("width")!.Value)];
        CollectionAssert.AreEqual((string[])["250", "125", "500"], barWidths);
        Assert.AreEqual(2, root.Elements(ns + "circle").Count());
        Assert.AreEqual(1, root.Elements(ns + "line").Count(line => line.Attribute("stroke-width") is not null));
    }
}
