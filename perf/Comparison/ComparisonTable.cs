using System.Globalization;
using Spectre.Console;

namespace FusedKernels.Perf.Comparison;

/// <summary>The measurements as a table for the terminal.</summary>
internal static class ComparisonTable
{
    /// <summary>Writes one row per measurement.</summary>
    public static void Write(IAnsiConsole console, IEnumerable<Measurement> measurements)
    {
        Table table = new Table().AddColumns("name", "unit").Border(TableBorder.Simple);
        foreach (string figure in (string[])["value", "demand", "peer's"])
        {
            _ = table.AddColumn(new TableColumn(figure).RightAligned().NoWrap());
        }

        _ = table.AddColumns("peer", "measured");
        foreach (Measurement measurement in measurements)
        {
            _ = table.AddRow(
                new Text(measurement.Name),
                new Text(measurement.Unit),
                new Text(Format(measurement.Value), ValueStyle(measurement)),
                new Text(measurement.Demand?.ToString() ?? ""),
                new Text(measurement.PeerValue is { } value ? Format(value) : ""),
                new Text(measurement.Peer ?? ""),
                new Text(measurement.Detail));
        }

        console.Write(table);
    }

    private static string Format(double value) =>
        value.ToString(Math.Abs(value) < 10 ? "0.000" : "0.0", CultureInfo.InvariantCulture);

    private static Style ValueStyle(Measurement measurement) => measurement.Demand?.IsMetBy(measurement.Value) switch
    {
        true => new Style(Color.Green),
        false => new Style(Color.Red),
        null => Style.Plain,
    };
}
