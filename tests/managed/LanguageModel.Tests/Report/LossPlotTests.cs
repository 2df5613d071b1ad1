using System.Globalization;
using System.Xml.Linq;
using LanguageModel.Report;
using LanguageModel.Training;

namespace LanguageModel.Tests.Report;

[TestClass]
public sealed class LossPlotTests
{
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    private static TrainingHistory History(int steps) => new()
    {
        TrainingLosses = [.. Enumerable.Range(0, steps).Select(i => 9 - (4f * i / steps))],
        ValidationLosses = [.. Enumerable.Range(1, steps / 10).Select(i => new ValidationPoint(i * 10, 9.1 - (40.0 * i / steps)))],
    };

    [TestMethod]
    [DataRow(1)]
    [DataRow(2)]
    [DataRow(20)]
    [DataRow(12345)]
    public void Every_point_lies_inside_the_axes(int steps)
    {
        XElement svg = XElement.Parse(LossPlot.Draw(History(steps), [("a < b & c", 5.8)]));

        XElement[] curves = [.. svg.Elements(Svg + "polyline")];
        Assert.HasCount(2, curves);
        foreach (XElement curve in curves)
        {
            foreach (string point in curve.Attribute("points")!.Value.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            {
                double[] xy = [.. point.Split(',').Select(number => double.Parse(number, CultureInfo.InvariantCulture))];
                Assert.IsTrue(xy[0] is >= 70 and <= 770 && xy[1] is >= 50 and <= 390, point);
            }
        }

        Assert.HasCount(steps / 10, svg.Elements(Svg + "circle"));
        Assert.IsTrue(svg.Elements(Svg + "text").Any(text => text.Value == "a < b & c"));
        Assert.IsTrue(svg.Elements(Svg + "text").Any(text => text.Value == "loss (nats per token)"));
    }

    [TestMethod]
    public void Lower_losses_are_drawn_lower_and_later_steps_to_the_right()
    {
        XElement svg = XElement.Parse(LossPlot.Draw(History(20), []));
        double[][] points = [.. svg.Elements(Svg + "polyline").First().Attribute("points")!.Value.Split(' ')
            .Select(point => point.Split(',').Select(number => double.Parse(number, CultureInfo.InvariantCulture)).ToArray())];

        Assert.HasCount(20, points);
        for (int i = 1; i < points.Length; i++)
        {
            Assert.IsGreaterThan(points[i - 1][0], points[i][0]);
            Assert.IsGreaterThan(points[i - 1][1], points[i][1]);
        }
    }
}
