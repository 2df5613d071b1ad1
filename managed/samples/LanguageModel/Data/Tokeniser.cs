using System.Text;

namespace LanguageModel.Data;

/// <summary>Splits text into sentences of words and punctuation marks, and joins such tokens to readable text again.</summary>
internal static class Tokeniser
{
    /// <summary>
    /// The sentences of a paragraph, each as its tokens with one space between: a word is a run of letters, digits and
    /// underscores (case kept, an apostrophe inside a word belongs to it), every other mark is a token of its own.
    /// </summary>
    public static IEnumerable<string> Sentences(string paragraph)
    {
        StringBuilder sentence = new();
        int position = 0;
        while (position < paragraph.Length)
        {
            if (char.IsWhiteSpace(paragraph[position]))
            {
                position++;
                continue;
            }

            int end = TokenEnd(paragraph, position);
            if (sentence.Length > 0)
            {
                sentence.Append(' ');
            }

            sentence.Append(paragraph, position, end - position);
            if (EndsSentence(paragraph, position, end))
            {
                yield return sentence.ToString();
                sentence.Clear();
            }

            position = end;
        }

        if (sentence.Length > 0)
        {
            yield return sentence.ToString();
        }
    }

    /// <summary>Readable text from tokens: no space before closing marks or after opening ones.</summary>
    public static string Join(IEnumerable<string> tokens)
    {
        StringBuilder text = new();
        bool joinNext = true;
        string? openQuote = null;
        foreach (string token in tokens)
        {
            bool closesQuote = token == openQuote;
            bool opensQuote = openQuote is null && token is ("\"" or "'");
            if (!joinNext && !closesQuote && !JoinsPrevious(token))
            {
                text.Append(' ');
            }

            text.Append(token);
            joinNext = opensQuote || JoinsNext(token);
            openQuote = opensQuote ? token : closesQuote ? null : openQuote;
        }

        return text.ToString();
    }

    private static bool JoinsPrevious(string token) =>
        token is "." or "," or ";" or ":" or "!" or "?" or ")" or "]" or "}" or ">" or "-" or "/" or "%";

    private static bool JoinsNext(string token) =>
        token is "(" or "[" or "{" or "<" or "-" or "/" or "#" or "@" or "$";

    private static int TokenEnd(string text, int start)
    {
        if (!IsWordCharacter(text[start]))
        {
            return char.IsSurrogatePair(text, start) ? start + 2 : start + 1;
        }

        int end = start + 1;
        while (end < text.Length && (IsWordCharacter(text[end]) || IsApostropheInWord(text, end)))
        {
            end++;
        }

        return end;
    }

    private static bool IsWordCharacter(char c) => char.IsLetterOrDigit(c) || c == '_';

    private static bool IsApostropheInWord(string text, int position) =>
        text[position] is '\'' or '\u2019' && position + 1 < text.Length && char.IsLetter(text[position + 1]);

    /// <summary>
    /// A full stop, question or exclamation mark ends a sentence when white space and then no small letter follow, so
    /// that "e.g. this" and "System.Text" stay whole.
    /// </summary>
    private static bool EndsSentence(string text, int start, int end)
    {
        if (text[start] is not ('.' or '!' or '?') || end >= text.Length || !char.IsWhiteSpace(text[end]))
        {
            return false;
        }

        int next = end;
        while (next < text.Length && char.IsWhiteSpace(text[next]))
        {
            next++;
        }

        return next < text.Length && !char.IsLower(text[next]);
    }
}
