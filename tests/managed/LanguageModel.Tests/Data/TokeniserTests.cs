using LanguageModel.Data;

namespace LanguageModel.Tests.Data;

[TestClass]
public sealed class TokeniserTests
{
    [TestMethod]
    [DataRow("Returns the value.", "Returns the value .")]
    [DataRow("  It's\n  (not)\t42. ", "It's ( not ) 42 .")]
    [DataRow("_mm256_and_si256 (__m256i a)", "_mm256_and_si256 ( __m256i a )")]
    [DataRow("'quoted'", "' quoted '")]
    [DataRow("naïve \U0001F600!", "naïve \U0001F600 !")]
    [DataRow("x<y", "x < y")]
    public void Words_and_marks_are_tokens(string text, string expected) =>
        Assert.AreEqual(expected, Tokeniser.Sentences(text).Single());

    [TestMethod]
    [DataRow("One. Two.", "One .|Two .")]
    [DataRow("Is it? It is! 3 more.", "Is it ?|It is !|3 more .")]
    [DataRow("See System.Text, e.g. this one.", "See System . Text , e . g . this one .")]
    [DataRow("no mark", "no mark")]
    [DataRow(" \n ", "")]
    public void Sentences_end_at_marks_before_capitals(string text, string expected) =>
        Assert.AreEqual(expected, string.Join('|', Tokeniser.Sentences(text)));

    [TestMethod]
    [DataRow("Returns \"a b\" (or 'c'), if x-y > 0: done.")]
    [DataRow("The component's name, or null.")]
    [DataRow("Adds [1] to {x}.")]
    public void Join_restores_readable_text(string text) =>
        Assert.AreEqual(text.Replace(" >", ">"), Tokeniser.Join(Tokeniser.Sentences(text).Single().Split(' ')));
}
