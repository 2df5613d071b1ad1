using System.Text.RegularExpressions;

namespace FusedKernels.Packaging.Tests;

/// <summary>The C header, as far as these tests read it.</summary>
internal static partial class Header
{
    /// <summary>Every function that it declares.</summary>
    public static IReadOnlyList<string> Functions { get; } =
        [.. Declaration().Matches(File.ReadAllText(Repository.PathOf("native", "include", "fusedkernels.h")))
            .Select(match => match.Groups[1].Value)];

    [GeneratedRegex(@"^FK_API [^;(]*?\b(fk_\w+)\(", RegexOptions.Multiline)]
    private static partial Regex Declaration();
}
