using System.Globalization;
using Spectre.Console;

namespace FusedKernels.Perf.Comparison;

/// <summary>The measurements as a table for the terminal.</summary>
internal static class ComparisonTable
{
    /// <summary>Writes one row per measurement; what a row shares with the one above it is left out.</summary>
    public static void Write(IAnsiConsole console, IEnumerable<Measurement> measurements)
    {
        Table table = new Table().AddColumns("name", "unit").Border(TableBorder.Simple);
        foreach (string figure in (string[])["value", "demand", "peer's"])
        {
            _ = table.AddColumn(new TableColumn(figure).RightAligned().NoWrap());
        }

        _ = table.AddColumns("peer", "measured");
        Measurement? above = null;
        foreach (Measurement measurement in measurements)
        {
            bool isSameFigure = above is not null
                && above with { Peer = measurement.Peer, PeerValue = measurement.PeerValue } == measurement;
            _ = table.AddRow(
                new Text(measurement.Name == above?.Name ? "" : measurement.Name),
                new Text(isSameFigure ? "" : measurement.Unit),
                new Text(isSameFigure ? "" : Format(measurement.Value), ValueStyle(measurement)),
                new Text(isSameFigure ? "" : measurement.Demand?.ToString() ?? ""),
                new Text(measurement.PeerValue is { } value ? Format(value) : ""),
                new Text(measurement.Peer ?? ""),
                new Text(isSameFigure ? "" : measurement.Detail));
            above = measurement;
        }

        console.Write(table);
    }

    private static string Format(double value) =>
        value.ToString(
            Math.Abs(value) switch { 0 => "0", < 0.01 => "0.0e0", < 10 => "0.000", _ => "0.0" },
            CultureInfo.InvariantCulture);

    private static Style ValueStyle(Measurement measurement) => measurement.Demand?.IsMetBy(measurement.Value) switch
    {
        true => new Style(Color.Green),
        false => new Style(Color.Red),
        null => Style.Plain,
    };
}
