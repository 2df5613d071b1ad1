using System.Globalization;

namespace FusedKernels.Perf.Comparison;

/// <summary>
/// One operator on more and more rows, in turns: the time per row should stay as it is, and so should the workspace.
/// </summary>
/// <param name="name">The name in the report; the sizes report under their own.</param>
/// <param name="sizes">The operator with its number of rows N, <see cref="ReferenceRows"/> among them.</param>
internal sealed class GrowthWorkload(string name, IReadOnlyList<(int Rows, OperatorWorkload Operator)> sizes)
    : Workload(name)
{
    /// <summary>The N whose time per row the others' are divided by.</summary>
    public const int ReferenceRows = 1024;

    private readonly double _work = sizes.Sum(size => size.Operator.Work);

    /// <inheritdoc/>
    public override int Steps(ComparisonSession session) => 1 + session.Settings.RepetitionsOf(_work);

    /// <inheritdoc/>
    public override IReadOnlyList<Measurement> Measure(ComparisonSession session)
    {
        Size[] measured = [.. sizes.Select(size => Size.Prepare(session.Context, size.Rows, size.Operator))];
        session.Step();
        TakeTurns(session, _work, session.FmaPeak, [.. measured.Select(size => size.SecondsPerRow)]);

        Contestant reference = measured.Single(size => size.Rows == ReferenceRows).SecondsPerRow;
        double[] times = [.. measured.Select(size => reference.SpeedOver(size.SecondsPerRow))];
        return
        [
            .. measured.Zip(times, FiguresOf).SelectMany(figures => figures),
            Report(Units.TimeSpread, Statistics.Spread(times)),
        ];
    }

    private IEnumerable<Measurement> FiguresOf(Size size, double time)
    {
        Contestant perRow = size.SecondsPerRow;
        string detail = string.Create(CultureInfo.InvariantCulture, $"{perRow.MedianSeconds * 1e6:F1} us a row");
        return
        [
            Report(Units.TimePerRow, time, detail: detail) with { Name = perRow.Name },
            Report(Units.WorkspaceMegabytes, size.WorkspaceBytes / 1e6) with { Name = perRow.Name },
        ];
    }

    private sealed record Size(int Rows, Contestant SecondsPerRow, long WorkspaceBytes)
    {
        public static Size Prepare(FusedContext context, int rows, OperatorWorkload workload)
        {
            context.ReleaseWorkspace(); // what another size left would hide what this one takes
            Func<double> time = workload.PrepareTimer(context);
            return new(rows, new Contestant(workload.Name, () => time() / rows), context.WorkspaceBytes);
        }
    }
}
