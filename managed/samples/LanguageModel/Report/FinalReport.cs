using System.Globalization;
using LanguageModel.Generation;
using LanguageModel.Training;
using Spectre.Console;

namespace LanguageModel.Report;

/// <summary>Prints what a run has achieved.</summary>
internal static class FinalReport
{
    /// <param name="losses">Model names with their mean losses on the same tokens, in nats.</param>
    /// <param name="tokens">How many tokens these are.</param>
    public static void WritePerplexities(IEnumerable<(string Model, double Loss)> losses, int tokens)
    {
        Table table = NewTable("model", $"perplexity of the same {Units.Count(tokens)} validation tokens");
        foreach ((string model, double loss) in losses)
        {
            AddRow(table, model, Math.Exp(loss).ToString("N1", CultureInfo.InvariantCulture));
        }

        AnsiConsole.Write(table);
    }

    public static void WriteMemory(TrainingSettings settings, int vocabularySize)
    {
        long logits = (long)settings.TokensPerStep * vocabularySize * sizeof(float);
        string size = $"{Units.Count(settings.TokensPerStep)} tokens x {Units.Count(vocabularySize)} words x 4 B = {Units.Megabytes(logits)}";
        Table table = NewTable("memory", "");
        AddRow(table, "peak resident memory", Units.Megabytes(PeakMemory.Bytes));
        AddRow(table, settings.Loss == LossKind.Cut ? "logits that were never stored" : "logits that were stored", size);
        AnsiConsole.Write(table);
    }

    public static void WriteComparison(LossMeasurement cut, LossMeasurement materialised)
    {
        Table table = NewTable($"loss, first {cut.Losses.Length} steps", "cut", "materialised");
        AddRow(table, "peak resident memory", Units.Megabytes(cut.PeakBytes), Units.Megabytes(materialised.PeakBytes));
        AddRow(table, "time per step", Milliseconds(cut.SecondsPerStep), Milliseconds(materialised.SecondsPerStep));
        AddRow(table, "of which loss and gradient", Milliseconds(cut.LossSecondsPerStep), Milliseconds(materialised.LossSecondsPerStep));
        AddRow(table, "loss of the last step", Loss(cut), Loss(materialised));
        AnsiConsole.Write(table);
        double difference = LossComparison.LargestDifference(cut, materialised);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Largest relative difference between the losses of a step: {difference:E1}"));
    }

    public static void WriteSpeed(Throughput prefill, Throughput decode)
    {
        Table table = NewTable("", "tokens", "tokens/s");
        AddRow(table, "prefill", Units.Count(prefill.Tokens), Speed(prefill));
        AddRow(table, "decode", Units.Count(decode.Tokens), Speed(decode));
        AnsiConsole.Write(table);
    }

    private static string Speed(Throughput throughput) => throughput.TokensPerSecond.ToString("N0", CultureInfo.InvariantCulture);

    private static string Milliseconds(double seconds) => string.Create(CultureInfo.InvariantCulture, $"{seconds * 1e3:N0} ms");

    private static string Loss(LossMeasurement measurement) => measurement.Losses[^1].ToString("F5", CultureInfo.InvariantCulture);

    private static Table NewTable(params string[] columns)
    {
        Table table = new Table().Border(TableBorder.Rounded);
        for (int i = 0; i < columns.Length; i++)
        {
            TableColumn column = new(new Text(columns[i]));
            table.AddColumn(i == 0 ? column : column.RightAligned());
        }

        return table;
    }

    private static void AddRow(Table table, params string[] cells) => table.AddRow(cells.Select(cell => new Text(cell)));
}
