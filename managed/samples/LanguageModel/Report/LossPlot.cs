using System.Globalization;
using System.Security;
using System.Text;
using LanguageModel.Training;

namespace LanguageModel.Report;

/// <summary>Draws the training and validation losses as an SVG.</summary>
internal static class LossPlot
{
    private const int Width = 800, Height = 450, Left = 70, Right = 30, Top = 50, Bottom = 60;
    private const int SmoothedPoints = 200;
    private const string TrainingColour = "#4c78a8", ValidationColour = "#e45756";

    /// <param name="history">The losses; at least one step.</param>
    /// <param name="references">Losses of other models, drawn as labelled horizontal lines.</param>
    public static string Draw(TrainingHistory history, IReadOnlyList<(string Name, double Loss)> references)
    {
        List<(double Step, double Loss)> training = Smooth(history.TrainingLosses);
        List<(double Step, double Loss)> validation = [.. history.ValidationLosses.Select(point => ((double)point.StepsDone, point.Loss))];
        double[] losses = [.. training.Concat(validation).Select(point => point.Loss), .. references.Select(reference => reference.Loss)];
        double lowest = Math.Floor(losses.Min());
        double highest = Math.Max(lowest + 1, Math.Ceiling(losses.Max()));
        Axes axes = new(Math.Max(1, history.TrainingLosses.Count), lowest, highest);

        StringBuilder svg = new();
        svg.Append(CultureInfo.InvariantCulture, $"""
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {Height}" width="{Width}" height="{Height}" font-family="sans-serif" font-size="13">
            <title>Training and validation loss by step</title>
            <rect width="100%" height="100%" fill="white"/>

            """);
        AppendGrid(svg, axes);
        foreach ((string name, double loss) in references)
        {
            AppendReference(svg, axes, name, loss);
        }

        AppendCurve(svg, axes, training, TrainingColour, dots: false);
        AppendCurve(svg, axes, validation, ValidationColour, dots: true);
        AppendLegend(svg);
        return svg.Append("</svg>\n").ToString();
    }

    /// <summary>Means of equal stretches, so that a long run draws as few points as a short one.</summary>
    private static List<(double Step, double Loss)> Smooth(IReadOnlyList<float> losses)
    {
        int stretch = (losses.Count + SmoothedPoints - 1) / SmoothedPoints;
        return [.. losses.Chunk(stretch).Select((chunk, i) => ((i * stretch) + ((chunk.Length + 1) / 2.0), (double)chunk.Average()))];
    }

    private static void AppendGrid(StringBuilder svg, Axes axes)
    {
        for (double loss = axes.Lowest; loss <= axes.Highest; loss++)
        {
            svg.Append(CultureInfo.InvariantCulture, $"""
                <line x1="{Left}" y1="{axes.Y(loss):F1}" x2="{Width - Right}" y2="{axes.Y(loss):F1}" stroke="#ddd"/>
                <text x="{Left - 8}" y="{axes.Y(loss) + 4:F1}" text-anchor="end">{loss}</text>

                """);
        }

        double spacing = TickSpacing(axes.Steps);
        for (double step = 0; step <= axes.Steps; step += spacing)
        {
            svg.Append(CultureInfo.InvariantCulture, $"""
                <line x1="{axes.X(step):F1}" y1="{Top}" x2="{axes.X(step):F1}" y2="{Height - Bottom}" stroke="#eee"/>
                <text x="{axes.X(step):F1}" y="{Height - Bottom + 20}" text-anchor="middle">{step}</text>

                """);
        }

        svg.Append(CultureInfo.InvariantCulture, $"""
            <path d="M{Left} {Top}V{Height - Bottom}H{Width - Right}" fill="none" stroke="#333"/>
            <text x="{(Left + Width - Right) / 2}" y="{Height - 15}" text-anchor="middle">step</text>
            <text transform="translate(20 {(Top + Height - Bottom) / 2}) rotate(-90)" text-anchor="middle">loss (nats per token)</text>

            """);
    }

    private static void AppendReference(StringBuilder svg, Axes axes, string name, double loss) => svg.Append(CultureInfo.InvariantCulture, $"""
        <line x1="{Left}" y1="{axes.Y(loss):F1}" x2="{Width - Right}" y2="{axes.Y(loss):F1}" stroke="#888" stroke-dasharray="5 4"/>
        <text x="{Width - Right - 4}" y="{axes.Y(loss) - 4:F1}" text-anchor="end" fill="#666">{SecurityElement.Escape(name)}</text>

        """);

    private static void AppendCurve(StringBuilder svg, Axes axes, List<(double Step, double Loss)> points, string colour, bool dots)
    {
        string coordinates = string.Join(
            ' ', points.Select(point => string.Create(CultureInfo.InvariantCulture, $"{axes.X(point.Step):F1},{axes.Y(point.Loss):F1}")));
        svg.Append(CultureInfo.InvariantCulture, $"""
            <polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"/>

            """);
        foreach ((double step, double loss) in dots ? points : [])
        {
            svg.Append(CultureInfo.InvariantCulture, $"""
                <circle cx="{axes.X(step):F1}" cy="{axes.Y(loss):F1}" r="3" fill="{colour}"/>

                """);
        }
    }

    private static void AppendLegend(StringBuilder svg) => svg.Append(CultureInfo.InvariantCulture, $"""
        <line x1="{Left}" y1="25" x2="{Left + 30}" y2="25" stroke="{TrainingColour}" stroke-width="2"/>
        <text x="{Left + 38}" y="29">training</text>
        <line x1="{Left + 120}" y1="25" x2="{Left + 150}" y2="25" stroke="{ValidationColour}" stroke-width="2"/>
        <text x="{Left + 158}" y="29">validation</text>
        <line x1="{Left + 250}" y1="25" x2="{Left + 280}" y2="25" stroke="#888" stroke-dasharray="5 4"/>
        <text x="{Left + 288}" y="29">n-gram models (validation)</text>

        """);

    /// <summary>1, 2 or 5 times a power of ten, for at most ten ticks.</summary>
    private static double TickSpacing(int steps)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(Math.Max(1, steps / 10.0))));
        return new[] { 1, 2, 5, 10 }.Select(factor => factor * power).First(spacing => steps / spacing <= 10);
    }

    private readonly record struct Axes(int Steps, double Lowest, double Highest)
    {
        public double X(double step) => Left + (step / Steps * (Width - Left - Right));

        public double Y(double loss) => Top + ((Highest - loss) / (Highest - Lowest) * (Height - Top - Bottom));
    }
}
