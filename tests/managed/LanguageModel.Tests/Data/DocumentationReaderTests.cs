using LanguageModel.Data;

namespace LanguageModel.Tests.Data;

[TestClass]
public sealed class DocumentationReaderTests
{
    [TestMethod]
    [DataRow("""<summary>Wraps a <see cref="T:System.String" />.</summary>""", "Wraps a String.")]
    [DataRow("""<summary>Is <see langword="null"/> or <paramref name="x" />.</summary>""", "Is null or x.")]
    [DataRow("""<summary>A <typeparamref name="T"/> <c>a &lt; b</c>.</summary>""", "A T a < b.")]
    [DataRow("""<summary>At most <see cref="F:System.Int32.MaxValue">the maximum</see>.</summary>""", "At most the maximum.")]
    [DataRow("""<summary>A <xref data-throw-if-not-resolved="true" uid="System.UInt32"></xref>.</summary>""", "A UInt32.")]
    [DataRow("""<summary>Before.<code>int x = 1;</code></summary>""", "Before.")]
    [DataRow("""<summary>One.<para>Two.</para>Three.</summary><returns>Four.</returns>""", "One.|Two.|Three.|Four.")]
    [DataRow("""<seealso cref="T:A.B"/><param name="y">It.</param>""", "It.")]
    [DataRow("""<list><item><term>a</term><description>b</description></item></list>""", "a|b")]
    [DataRow("""<summary></summary><code/>""", "")]
    public void Markup_is_stripped(string member, string expected)
    {
        using TemporaryFolder folder = new();
        string file = folder.Write(
            "a.xml",
            $"<doc><assembly><name>ignored</name></assembly><members><member name=\"T:X\">{member}</member></members></doc>");

        Assert.IsTrue(DocumentationReader.IsDocumentation(file));
        Assert.AreEqual(expected, string.Join('|', DocumentationReader.ReadParagraphs(file)));
    }

    [TestMethod]
    [DataRow("T:System.String", "String")]
    [DataRow("T:System.Collections.Generic.List`1", "List")]
    [DataRow("M:System.Text.StringBuilder.Append(System.Char)", "Append")]
    [DataRow("M:System.Collections.BitArray.#ctor(System.Collections.Generic.List{System.Byte})", "BitArray")]
    [DataRow("M:A.B.op_Implicit(A.B)~System.Int32", "op_Implicit")]
    [DataRow("M:A.Get``1(``0)", "Get")]
    [DataRow("", "")]
    public void References_become_short_names(string reference, string expected) =>
        Assert.AreEqual(expected, DocumentationReader.ShortName(reference));

    [TestMethod]
    [DataRow("<project />")]
    [DataRow("plain text")]
    [DataRow("")]
    public void Other_files_are_not_documentation(string content)
    {
        using TemporaryFolder folder = new();
        Assert.IsFalse(DocumentationReader.IsDocumentation(folder.Write("a.xml", content)));
    }
}
