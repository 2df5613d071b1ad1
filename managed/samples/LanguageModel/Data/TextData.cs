using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace LanguageModel.Data;

/// <summary>A text as every model sees it: one vocabulary and two streams of token numbers.</summary>
internal sealed class TextData
{
    private TextData(int fileCount, Vocabulary vocabulary, int[] training, int[] validation)
    {
        FileCount = fileCount;
        Vocabulary = vocabulary;
        Training = training;
        Validation = validation;
        Fingerprint = ComputeFingerprint();
    }

    public int FileCount { get; }

    public Vocabulary Vocabulary { get; }

    public int[] Training { get; }

    public int[] Validation { get; }

    /// <summary>A hash of all tokens and their numbers: a checkpoint belongs to one text and one vocabulary.</summary>
    public string Fingerprint { get; }

    /// <param name="path">A file or folder; null: the API reference of the installed SDK.</param>
    /// <param name="vocabularyCap">Most tokens in the vocabulary.</param>
    public static TextData Load(string? path, int vocabularyCap)
    {
        Corpus corpus = Corpus.Load(path is null ? TextFiles.FindApiReference() : TextFiles.Find(path));
        Vocabulary vocabulary = Vocabulary.Build(corpus.Training, vocabularyCap);
        return new TextData(corpus.FileCount, vocabulary, vocabulary.Encode(corpus.Training), vocabulary.Encode(corpus.Validation));
    }

    private string ComputeFingerprint()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (int id = 0; id < Vocabulary.Count; id++)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(Vocabulary[id] + "\n"));
        }

        hash.AppendData(MemoryMarshal.AsBytes<int>(Training));
        hash.AppendData(MemoryMarshal.AsBytes<int>(Validation));
        return Convert.ToHexString(hash.GetHashAndReset());
    }
}
