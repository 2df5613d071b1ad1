using System.Globalization;
using System.Security;
using System.Text;

namespace FusedKernels.Perf.Comparison;

/// <summary>The shares of the machine's limit as an SVG bar chart, with peers and demands marked.</summary>
internal static class ComparisonPlot
{
    private const int LabelWidth = 400;
    private const int BarsWidth = 500; // from 0 to the machine's limit
    private const int RowHeight = 34;
    private const int BarHeight = 18;
    private const int Top = 54;

    /// <summary>Draws one bar per workload that has a share of the machine's limit.</summary>
    public static string ToSvg(IEnumerable<Measurement> measurements)
    {
        List<IGrouping<string, Measurement>> workloads =
            [.. measurements.Where(m => m.Unit is Units.OfPeak or Units.OfBandwidth).GroupBy(m => m.Name)];
        int height = Top + (workloads.Count * RowHeight) + 20;
        StringBuilder svg = new();
        Line(svg, $"<svg xmlns='http://www.w3.org/2000/svg' width='{LabelWidth + BarsWidth + 60}' height='{height}'");
        Line(svg, $" font-family='sans-serif' font-size='13'>");
        Line(svg, $"<rect width='100%' height='100%' fill='white'/>");
        const string title =
            "Share of the machine's measured limit. Bar: FusedKernels. Circle: a peer. Red line: the demand.";
        Line(svg, $"<text x='10' y='20'>{title}</text>");
        for (int tenth = 0; tenth <= 10; tenth += 2)
        {
            double x = X(tenth / 10.0);
            Line(svg, $"<line x1='{x}' x2='{x}' y1='{Top - 6}' y2='{height - 16}' stroke='#ddd'/>");
            Line(svg, $"<text x='{x}' y='{Top - 12}' text-anchor='middle' fill='#666'>{tenth * 10} %</text>");
        }

        for (int row = 0; row < workloads.Count; row++)
        {
            Row(svg, Top + (row * RowHeight), [.. workloads[row]]);
        }

        Line(svg, $"</svg>");
        return svg.ToString();
    }

    // The measurements of one workload differ in their peer alone.
    private static void Row(StringBuilder svg, int y, IReadOnlyList<Measurement> measurements)
    {
        Measurement own = measurements[0];
        double middle = y + (BarHeight / 2.0);
        string name = SecurityElement.Escape(own.Name);
        // Work that a filter leaves out counts as done, so that a share may exceed 1.
        double width = X(Math.Min(1, own.Value)) - LabelWidth;
        Line(svg, $"<text x='{LabelWidth - 10}' y='{middle + 5}' text-anchor='end'>{name}</text>");
        Line(svg, $"<rect x='{LabelWidth}' y='{y}' width='{width:0.#}' height='{BarHeight}' fill='#4c78a8'/>");
        Line(svg, $"<text x='{LabelWidth + BarsWidth + 16}' y='{middle + 5}'>{own.Value:0.00}</text>");
        foreach (Measurement peer in measurements.Where(m => m.PeerValue is not null))
        {
            Line(svg, $"<circle cx='{X(peer.PeerValue!.Value):0.#}' cy='{middle}' r='5' fill='#f58518' stroke='white'>");
            Line(svg, $"<title>{SecurityElement.Escape(peer.Peer)}</title></circle>");
        }

        if (own.Demand is { } demand)
        {
            double x = X(demand.Limit);
            Line(svg, $"<line x1='{x:0.#}' x2='{x:0.#}' y1='{y - 4}' y2='{y + BarHeight + 4}'");
            Line(svg, $" stroke='#d62728' stroke-width='2'/>");
        }
    }

    private static double X(double share) => LabelWidth + (share * BarsWidth);

    private static void Line(StringBuilder svg, FormattableString line) =>
        svg.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
}
