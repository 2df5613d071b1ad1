using LanguageModel.Data;

namespace LanguageModel.Tests.Data;

[TestClass]
public sealed class VocabularyTests
{
    private static readonly string[] Sentences = ["b a c .", "a b a .", "c a once ."];

    [TestMethod]
    public void The_most_frequent_tokens_come_first_and_single_ones_are_unknown()
    {
        Vocabulary vocabulary = Vocabulary.Build(Sentences, cap: 100);

        CollectionAssert.AreEqual(
            new[] { "<s>", "<unk>", "a", ".", "b", "c" },
            Enumerable.Range(0, vocabulary.Count).Select(id => vocabulary[id]).ToArray());
        Assert.AreEqual(5, vocabulary.DifferentWords);
    }

    [TestMethod]
    public void A_sentence_ends_with_a_boundary_and_the_stream_starts_with_one()
    {
        Vocabulary vocabulary = Vocabulary.Build(Sentences, cap: 100);
        CollectionAssert.AreEqual(new[] { 0, 4, 2, 5, 3, 0, 1, 3, 0 }, vocabulary.Encode(["b a c .", "once ."]));
        CollectionAssert.AreEqual(new[] { 2, 4, 3 }, vocabulary.EncodeText("a b."));
    }

    [TestMethod]
    public void Sentences_are_put_together_again()
    {
        Vocabulary vocabulary = Vocabulary.Build(Sentences, cap: 100);
        Assert.AreEqual("b a c. <unk>. a", vocabulary.Decode([0, 4, 2, 5, 3, 0, 1, 3, 0, 2]));
        Assert.AreEqual("", vocabulary.Decode([0, 0]));
        Assert.AreEqual("", vocabulary.Decode([]));
    }

    [TestMethod]
    public void The_cap_counts_the_special_tokens()
    {
        Vocabulary vocabulary = Vocabulary.Build(Sentences, cap: 4);
        Assert.AreEqual(4, vocabulary.Count);
        CollectionAssert.AreEqual(new[] { 0, 1, 2, 1, 3, 0 }, vocabulary.Encode(["b a c ."]));
    }

    [TestMethod]
    public void The_text_cannot_spell_a_special_token()
    {
        Vocabulary vocabulary = Vocabulary.Build(["<s> x", "<s> x"], cap: 100);
        CollectionAssert.AreEqual(new[] { 0, 3, 2, 0 }, vocabulary.Encode(["x <s>"]));
    }
}
