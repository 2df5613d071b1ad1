using LanguageModel.Data;

namespace LanguageModel.Tests.Data;

[TestClass]
public sealed class CorpusTests
{
    [TestMethod]
    public void Every_tenth_file_is_held_out_and_no_sentence_is_in_both_or_twice()
    {
        using TemporaryFolder folder = new();
        for (int i = 0; i < 25; i++)
        {
            folder.Write($"{i:00}.txt", $"Everywhere the same. Only in file {i}. Shared by pairs {i / 2}. Only in file {i}.");
        }

        Corpus corpus = Corpus.Load(TextFiles.Find(folder.Path));

        Assert.AreEqual(25, corpus.FileCount);
        string[] heldOut = ["Everywhere the same .", "Only in file 9 .", "Shared by pairs 4 .", "Only in file 19 .", "Shared by pairs 9 ."];
        CollectionAssert.AreEqual(heldOut, corpus.Validation.ToArray());
        CollectionAssert.DoesNotContain(corpus.Training.ToArray(), "Shared by pairs 4 .");
        Assert.IsFalse(corpus.Training.Intersect(corpus.Validation).Any());

        // 23 files in training, each with its own sentence; 13 pairs less the two that held-out files share.
        Assert.AreEqual(23 + 11, corpus.Training.Count);
        Assert.AreEqual(corpus.Training.Count, corpus.Training.Distinct().Count());
    }

    [TestMethod]
    public void Of_few_files_every_tenth_sentence_is_held_out()
    {
        using TemporaryFolder folder = new();
        string file = folder.Write("a.txt", string.Join("\n\n", Enumerable.Range(0, 30).Select(i => $"Sentence {i}.")));

        Corpus corpus = Corpus.Load(TextFiles.Find(file));

        CollectionAssert.AreEqual(
            new[] { "Sentence 9 .", "Sentence 19 .", "Sentence 29 ." }, corpus.Validation.ToArray());
        Assert.AreEqual(27, corpus.Training.Count);
    }

    [TestMethod]
    public void Too_little_text_is_refused()
    {
        using TemporaryFolder folder = new();
        string file = folder.Write("a.txt", "One. Two. One.");
        UserException error = Assert.ThrowsExactly<UserException>(() => Corpus.Load(TextFiles.Find(file)));
        StringAssert.Contains(error.Message, "2 different sentences");
    }

    [TestMethod]
    public void Equal_files_count_once_and_order_does_not_depend_on_folders()
    {
        using TemporaryFolder folder = new();
        string copy = folder.Write("b/same.xml", "text");
        string first = folder.Write("a/same.xml", "text");
        string changed = folder.Write("c/same.xml", "other");
        string early = folder.Write("z/early.md", "text");
        folder.Write("z/ignored.dll", "text");

        CollectionAssert.AreEqual(new[] { early, first, changed }, TextFiles.Find(folder.Path).ToArray());
        CollectionAssert.AreEqual(new[] { copy }, TextFiles.Find(copy).ToArray());
    }

    [TestMethod]
    public void A_missing_path_or_an_empty_folder_is_refused()
    {
        using TemporaryFolder folder = new();
        StringAssert.Contains(
            Assert.ThrowsExactly<UserException>(() => TextFiles.Find(folder["nowhere"])).Message, "neither a file nor a folder");
        StringAssert.Contains(Assert.ThrowsExactly<UserException>(() => TextFiles.Find(folder.Path)).Message, "holds no .xml");
    }

    [TestMethod]
    public void The_api_reference_of_the_sdk_is_split_without_overlap()
    {
        Corpus corpus = Corpus.Load(TextFiles.FindApiReference());
        HashSet<string> training = [.. corpus.Training];
        HashSet<string> validation = [.. corpus.Validation];

        Assert.AreEqual(corpus.Training.Count, training.Count);
        Assert.AreEqual(corpus.Validation.Count, validation.Count);
        Assert.IsFalse(training.Overlaps(validation));
        Assert.IsGreaterThan(50_000, training.Count);
        Assert.IsTrue(training.Contains("Gets the number of characters in the current String object ."));
        Assert.IsFalse(training.Any(sentence => sentence.Contains("< see", StringComparison.Ordinal)));
    }
}
