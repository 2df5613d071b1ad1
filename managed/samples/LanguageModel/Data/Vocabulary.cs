using System.Runtime.InteropServices;

namespace LanguageModel.Data;

/// <summary>The one mapping from tokens to numbers that every model uses.</summary>
internal sealed class Vocabulary
{
    /// <summary>Stands between sentences: it ends one and is the context in which the next begins.</summary>
    public const int Boundary = 0;

    /// <summary>Every token that the vocabulary lacks.</summary>
    public const int Unknown = 1;

    private const int MinimumCount = 2;

    private readonly string[] _tokens;
    private readonly Dictionary<string, int> _ids;

    private Vocabulary(IEnumerable<string> words, int differentWords)
    {
        _tokens = ["<s>", "<unk>", .. words];
        _ids = new Dictionary<string, int>(_tokens.Length, StringComparer.Ordinal);
        for (int id = Unknown + 1; id < _tokens.Length; id++)
        {
            _ids.Add(_tokens[id], id);
        }

        DifferentWords = differentWords;
    }

    public int Count => _tokens.Length;

    /// <summary>How many different tokens the training text has, whether in the vocabulary or not.</summary>
    public int DifferentWords { get; }

    public string this[int id] => _tokens[id];

    /// <summary>
    /// The most frequent tokens of the training sentences, at most <paramref name="cap"/> with the two special ones. A
    /// token that occurs once is left out, so that the models learn where unknown tokens stand.
    /// </summary>
    public static Vocabulary Build(IReadOnlyList<string> sentences, int cap)
    {
        Dictionary<string, int> counts = new(StringComparer.Ordinal);
        var lookup = counts.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach (string sentence in sentences)
        {
            foreach (Range range in sentence.AsSpan().Split(' '))
            {
                CollectionsMarshal.GetValueRefOrAddDefault(lookup, sentence.AsSpan(range), out _)++;
            }
        }

        IEnumerable<string> words = counts
            .Where(entry => entry.Value >= MinimumCount)
            .OrderByDescending(entry => entry.Value)
            .ThenBy(entry => entry.Key, StringComparer.Ordinal)
            .Take(cap - 2)
            .Select(entry => entry.Key);
        return new Vocabulary(words, counts.Count);
    }

    /// <summary>One stream of token numbers: a boundary, then every sentence followed by a boundary.</summary>
    public int[] Encode(IReadOnlyList<string> sentences)
    {
        List<int> stream = new(sentences.Count * 16) { Boundary };
        foreach (string sentence in sentences)
        {
            AppendIds(sentence, stream);
            stream.Add(Boundary);
        }

        return [.. stream];
    }

    /// <summary>The token numbers of a text that need not be a whole sentence.</summary>
    public int[] EncodeText(string text)
    {
        List<int> ids = [];
        foreach (string sentence in Tokeniser.Sentences(text))
        {
            AppendIds(sentence, ids);
        }

        return [.. ids];
    }

    /// <summary>Readable text from token numbers, with a space between sentences.</summary>
    public string Decode(IEnumerable<int> ids)
    {
        List<string> sentences = [];
        List<string> sentence = [];
        foreach (int id in ids.Append(Boundary))
        {
            if (id != Boundary)
            {
                sentence.Add(this[id]);
            }
            else if (sentence.Count > 0)
            {
                sentences.Add(Tokeniser.Join(sentence));
                sentence.Clear();
            }
        }

        return string.Join(' ', sentences);
    }

    private void AppendIds(string sentence, List<int> ids)
    {
        var lookup = _ids.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach (Range range in sentence.AsSpan().Split(' '))
        {
            ids.Add(lookup.TryGetValue(sentence.AsSpan(range), out int id) ? id : Unknown);
        }
    }
}
