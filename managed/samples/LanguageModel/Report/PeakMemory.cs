using System.Diagnostics;

namespace LanguageModel.Report;

/// <summary>The largest resident memory that this process has had.</summary>
internal static class PeakMemory
{
    public static long Bytes
    {
        get
        {
            using Process process = Process.GetCurrentProcess();
            return process.PeakWorkingSet64;
        }
    }
}
