using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace LanguageModel.Data;

/// <summary>Finds the files to learn from.</summary>
internal static class TextFiles
{
    private static readonly string[] Extensions = [".xml", ".txt", ".md"];

    /// <summary>The file itself, or every .xml, .txt and .md file below a folder.</summary>
    public static IReadOnlyList<string> Find(string path)
    {
        if (File.Exists(path))
        {
            return [path];
        }

        if (!Directory.Exists(path))
        {
            throw new UserException($"--text: '{path}' is neither a file nor a folder.");
        }

        List<string> files = [.. Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Where(IsText)];
        return files.Count > 0
            ? Distinct(files)
            : throw new UserException($"--text: the folder '{path}' holds no {string.Join(", ", Extensions)} file.");
    }

    /// <summary>The API reference of the installed SDK: the documentation files beside its reference assemblies.</summary>
    public static IReadOnlyList<string> FindApiReference()
    {
        foreach (string root in DotnetRoots())
        {
            string packs = Path.Combine(root, "packs");
            if (!Directory.Exists(packs))
            {
                continue;
            }

            // packs/<pack>/<version>/ref/<framework>/<assembly>.xml
            IEnumerable<string> files = Directory.EnumerateDirectories(packs)
                .SelectMany(Directory.EnumerateDirectories)
                .Select(version => Path.Combine(version, "ref"))
                .Where(Directory.Exists)
                .SelectMany(reference => Directory.EnumerateFiles(reference, "*.xml", SearchOption.AllDirectories));
            IReadOnlyList<string> distinct = Distinct(files);
            if (distinct.Count > 0)
            {
                return distinct;
            }
        }

        throw new UserException(
            "The installed .NET has no API reference to learn from (packs/*/*/ref/*/*.xml below the dotnet folder; a "
            + "runtime without the SDK has none). Give another text with --text PATH.");
    }

    /// <summary>
    /// Sorts by file name, then by path, and keeps the first of files with equal content: the packs repeat whole files,
    /// and a copy would waste its turn when every tenth file is held out.
    /// </summary>
    internal static IReadOnlyList<string> Distinct(IEnumerable<string> files)
    {
        List<string> sorted = [.. files.OrderBy(Path.GetFileName, StringComparer.Ordinal).ThenBy(f => f, StringComparer.Ordinal)];
        HashSet<(string Name, string Hash)> seen = [];
        return [.. sorted.Where(file => seen.Add((Path.GetFileName(file), ContentHash(file))))];
    }

    private static string ContentHash(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return Convert.ToHexString(SHA256.HashData(stream));
    }

    private static bool IsText(string file) => Extensions.Contains(Path.GetExtension(file), StringComparer.OrdinalIgnoreCase);

    private static IEnumerable<string> DotnetRoots()
    {
        // <root>/shared/Microsoft.NETCore.App/<version>/
        yield return Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));
        if (Environment.GetEnvironmentVariable("DOTNET_ROOT") is { Length: > 0 } root)
        {
            yield return root;
        }
    }
}
