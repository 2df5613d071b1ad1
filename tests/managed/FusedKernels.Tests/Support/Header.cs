using System.Text.RegularExpressions;

namespace FusedKernels.Tests.Support;

/// <summary>Reads <c>fusedkernels.h</c>, whose style is regular enough for expressions.</summary>
internal static partial class Header
{
    private static readonly string Text = Comments().Replace(
        File.ReadAllText(Path.Combine(ChildProcess.RepositoryRoot, "native/include/fusedkernels.h")), " ");

    public sealed record Function(string Name, string ReturnType, string[] ParameterTypes);

    /// <summary>The exported functions, with types as written but for <c>const</c> and spaces.</summary>
    public static IEnumerable<Function> Functions() =>
        from Match match in FunctionDeclaration().Matches(Text)
        let parameters = match.Groups["parameters"].Value.Trim()
        select new Function(
            match.Groups["name"].Value, Plain(match.Groups["type"].Value),
            parameters == "void" ? [] : [.. parameters.Split(',').Select(p => Plain(LastWord().Replace(p.Trim(), "")))]);

    public static IEnumerable<(string Name, string[] Fields)> Structs() =>
        from Match match in StructDefinition().Matches(Text)
        select (match.Groups["name"].Value,
            match.Groups["body"].Value.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
                .SelectMany(fields => fields.Split(',', StringSplitOptions.TrimEntries))
                .Select(field => LastWord().Match(field).Value).ToArray());

    /// <summary>The members of an enum, in order.</summary>
    public static IEnumerable<(string Name, int Value)> Enum(string name) =>
        from Match match in EnumMember().Matches(EnumDefinition().Matches(Text).Single(m => m.Groups["name"].Value == name).Value)
        select (match.Groups["name"].Value, int.Parse(match.Groups["value"].Value));

    public static uint AbiVersion() => uint.Parse(AbiVersionDefinition().Match(Text).Groups["value"].Value);

    public static float DefaultFilterEpsilon() =>
        float.Parse(DefaultFilterEpsilonDefinition().Match(Text).Groups["value"].Value);

    private static string Plain(string type) => ConstOrSpace().Replace(type, "");

    [GeneratedRegex(@"/\*.*?\*/", RegexOptions.Singleline)]
    private static partial Regex Comments();

    [GeneratedRegex(@"FK_API\s+(?<type>[\w\s]+?[\s*]+)(?<name>fk_\w+)\s*\((?<parameters>[^)]*)\)\s*FK_NOEXCEPT\s*;")]
    private static partial Regex FunctionDeclaration();

    [GeneratedRegex(@"typedef struct \{(?<body>[^}]*)\}\s*(?<name>\w+);")]
    private static partial Regex StructDefinition();

    [GeneratedRegex(@"typedef enum \{[^}]*\}\s*(?<name>\w+);")]
    private static partial Regex EnumDefinition();

    [GeneratedRegex(@"(?<name>\w+)\s*=\s*(?<value>\d+)")]
    private static partial Regex EnumMember();

    [GeneratedRegex(@"#define FK_ABI_VERSION (?<value>\d+)")]
    private static partial Regex AbiVersionDefinition();

    [GeneratedRegex(@"#define FK_DEFAULT_FILTER_EPSILON (?<value>[\d.]+)f")]
    private static partial Regex DefaultFilterEpsilonDefinition();

    [GeneratedRegex(@"\w+$")]
    private static partial Regex LastWord();

    [GeneratedRegex(@"\bconst\b|\s")]
    private static partial Regex ConstOrSpace();
}
