using System.Globalization;

namespace LanguageModel.Report;

/// <summary>Numbers as the report writes them.</summary>
internal static class Units
{
    public static string Megabytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:N0} MB");

    public static string Count(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    public static string Duration(TimeSpan time) =>
        time.TotalHours >= 1 ? $"{(int)time.TotalHours}:{time:mm\\:ss}" : $"{(int)time.TotalMinutes}:{time:ss}";
}
