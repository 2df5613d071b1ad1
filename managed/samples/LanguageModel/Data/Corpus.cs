namespace LanguageModel.Data;

/// <summary>The sentences to learn from and the held-out ones, no sentence twice and none in both.</summary>
internal sealed class Corpus
{
    private const int HeldOutEvery = 10;

    private Corpus(int fileCount, IReadOnlyList<string> training, IReadOnlyList<string> validation)
    {
        if (training.Count == 0 || validation.Count == 0)
        {
            throw new UserException(
                $"--text: {training.Count + validation.Count} different sentences in {fileCount} files are too few to "
                + $"train and validate; at least {HeldOutEvery} are needed.");
        }

        FileCount = fileCount;
        Training = training;
        Validation = validation;
    }

    public int FileCount { get; }

    /// <summary>Sentences in the form of <see cref="Tokeniser.Sentences"/>.</summary>
    public IReadOnlyList<string> Training { get; }

    public IReadOnlyList<string> Validation { get; }

    /// <summary>
    /// Every tenth file is held out with all its sentences, also those that other files repeat. Of fewer than ten files,
    /// every tenth sentence is held out instead.
    /// </summary>
    public static Corpus Load(IReadOnlyList<string> files)
    {
        string[][] sentences = [.. files.AsParallel().AsOrdered().Select(ReadSentences)];
        return files.Count >= HeldOutEvery ? SplitByFile(sentences) : SplitBySentence(sentences);
    }

    private static Corpus SplitByFile(string[][] sentencesOfFile)
    {
        HashSet<string> seen = new(StringComparer.Ordinal);
        List<string> validation = [.. HeldOut(held: true).Where(seen.Add)];
        List<string> training = [.. HeldOut(held: false).Where(seen.Add)];
        return new Corpus(sentencesOfFile.Length, training, validation);

        IEnumerable<string> HeldOut(bool held) =>
            sentencesOfFile.Where((_, index) => IsHeldOut(index) == held).SelectMany(sentences => sentences);
    }

    private static Corpus SplitBySentence(string[][] sentencesOfFile)
    {
        HashSet<string> seen = new(StringComparer.Ordinal);
        List<string> distinct = [.. sentencesOfFile.SelectMany(sentences => sentences).Where(seen.Add)];
        return new Corpus(
            sentencesOfFile.Length,
            [.. distinct.Where((_, index) => !IsHeldOut(index))],
            [.. distinct.Where((_, index) => IsHeldOut(index))]);
    }

    private static bool IsHeldOut(int index) => index % HeldOutEvery == HeldOutEvery - 1;

    private static string[] ReadSentences(string file)
    {
        List<string> paragraphs = DocumentationReader.IsDocumentation(file)
            ? DocumentationReader.ReadParagraphs(file)
            : PlainTextParagraphs(file);

        // One file repeats its own sentences most of all; dropping them here keeps the peak memory down.
        return [.. paragraphs.SelectMany(Tokeniser.Sentences).Distinct(StringComparer.Ordinal)];
    }

    private static List<string> PlainTextParagraphs(string file) =>
        [.. File.ReadAllText(file).ReplaceLineEndings("\n").Split("\n\n", StringSplitOptions.RemoveEmptyEntries)];
}
