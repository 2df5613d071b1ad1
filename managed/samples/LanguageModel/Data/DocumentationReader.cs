using System.Text;
using System.Xml;

namespace LanguageModel.Data;

/// <summary>Reads the paragraphs of a .NET XML documentation file, with the markup stripped.</summary>
/// <remarks>
/// References are replaced by what a reader would see: <c>&lt;see cref="T:System.String"/&gt;</c> by "String",
/// <c>&lt;paramref name="x"/&gt;</c> by "x", <c>&lt;see langword="null"/&gt;</c> by "null". Code blocks are left out.
/// </remarks>
internal sealed class DocumentationReader
{
    private readonly List<string> _paragraphs = [];
    private readonly StringBuilder _text = new();

    /// <summary>Whether the file is an XML documentation file: its root element is "doc".</summary>
    public static bool IsDocumentation(string file)
    {
        try
        {
            using XmlReader reader = Open(file);
            return reader.MoveToContent() == XmlNodeType.Element && reader.Name == "doc";
        }
        catch (XmlException)
        {
            return false;
        }
    }

    public static List<string> ReadParagraphs(string file)
    {
        DocumentationReader documentation = new();
        using XmlReader reader = Open(file);
        if (reader.ReadToFollowing("members"))
        {
            documentation.ReadMembers(reader);
        }

        return documentation._paragraphs;
    }

    /// <summary>"M:System.Text.StringBuilder.Append(System.Char)" is "Append", a constructor its type's name.</summary>
    internal static string ShortName(string reference)
    {
        string name = reference is [_, ':', ..] ? reference[2..] : reference;
        int parameters = name.AsSpan().IndexOfAny("({~");
        if (parameters > 0)
        {
            name = name[..parameters];
        }

        string[] parts = name.Split('.', StringSplitOptions.RemoveEmptyEntries);
        if (parts.Length == 0)
        {
            return "";
        }

        string last = parts[^1] is "#ctor" or "#cctor" && parts.Length > 1 ? parts[^2] : parts[^1];
        int arity = last.IndexOf('`', StringComparison.Ordinal);
        return arity > 0 ? last[..arity] : last;
    }

    private static XmlReader Open(string file) => XmlReader.Create(
        file, new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, IgnoreComments = true, XmlResolver = null });

    private void ReadMembers(XmlReader reader)
    {
        bool more = reader.Read();
        while (more)
        {
            more = reader.NodeType switch
            {
                XmlNodeType.Element => ReadElement(reader),
                XmlNodeType.EndElement => ReadEndElement(reader),
                XmlNodeType.Text or XmlNodeType.CDATA or XmlNodeType.Whitespace or XmlNodeType.SignificantWhitespace => ReadText(reader),
                _ => reader.Read(),
            };
        }

        EndParagraph();
    }

    private bool ReadElement(XmlReader reader)
    {
        switch (reader.Name)
        {
            case "code" or "seealso":
                reader.Skip();
                return !reader.EOF;
            case "see" or "xref" or "paramref" or "typeparamref":
                AppendReference(reader);
                break;
            case var name when !IsInline(name):
                EndParagraph();
                break;
        }

        return reader.Read();
    }

    private bool ReadEndElement(XmlReader reader)
    {
        if (!IsInline(reader.Name))
        {
            EndParagraph();
        }

        return reader.Read();
    }

    private bool ReadText(XmlReader reader)
    {
        _text.Append(reader.Value);
        return reader.Read();
    }

    /// <summary>An empty reference stands for its target's name; one with content is read as its content.</summary>
    private void AppendReference(XmlReader reader)
    {
        if (!reader.IsEmptyElement && reader.Name != "xref")
        {
            return;
        }

        _text.Append(
            reader.GetAttribute("langword")
            ?? reader.GetAttribute("name")
            ?? ShortName(reader.GetAttribute("cref") ?? reader.GetAttribute("uid") ?? ""));
    }

    private static bool IsInline(string element) =>
        element is "see" or "xref" or "paramref" or "typeparamref" or "c" or "sup" or "sub" or "em" or "strong" or "i" or "b" or "a";

    private void EndParagraph()
    {
        string text = _text.ToString();
        _text.Clear();
        if (!string.IsNullOrWhiteSpace(text))
        {
            _paragraphs.Add(text);
        }
    }
}
