using System.Diagnostics;
using System.Runtime.InteropServices;
using LanguageModel.Data;

namespace LanguageModel.Generation;

/// <summary>Lets the model write, one token after another.</summary>
internal sealed class Generator(NextTokenScorer scorer, TokenSampler sampler, Vocabulary vocabulary)
{
    private const int LongestSentence = 60;

    private readonly float[] _logits = new float[vocabulary.Count];

    /// <summary>The model's part of what <see cref="Continue"/> did with the starts.</summary>
    public Throughput Prefill { get; private set; }

    /// <summary>The model's part of what <see cref="Continue"/> did with the tokens that it gave.</summary>
    public Throughput Decode { get; private set; }

    /// <summary>Sentences that start with the prompt ("" for none), each without regard to the others.</summary>
    public IEnumerable<string> Sentences(string prompt, int count)
    {
        int[] start = [Vocabulary.Boundary, .. vocabulary.EncodeText(prompt)];
        string[] words = [.. Tokeniser.Sentences(prompt).SelectMany(sentence => sentence.Split(' '))];
        for (int i = 0; i < count; i++)
        {
            IEnumerable<int> rest = Continue(start).TakeWhile(token => token != Vocabulary.Boundary).Take(LongestSentence);
            yield return Tokeniser.Join(words.Concat(rest.Select(token => vocabulary[token])));
        }
    }

    /// <summary>The tokens that follow the start, without an end.</summary>
    /// <param name="start">At least one token.</param>
    public IEnumerable<int> Continue(IReadOnlyCollection<int> start)
    {
        scorer.Forget();
        List<int> tokens = [.. start];
        Prefill += Score(tokens);
        while (true)
        {
            int token = sampler.Draw(_logits);
            yield return token;
            tokens.Add(token);
            Decode += Score(tokens) with { Tokens = 1 };
        }
    }

    private Throughput Score(List<int> tokens)
    {
        long start = Stopwatch.GetTimestamp();
        int computed = scorer.Score(CollectionsMarshal.AsSpan(tokens), _logits);
        return new Throughput(computed, Stopwatch.GetElapsedTime(start));
    }
}
