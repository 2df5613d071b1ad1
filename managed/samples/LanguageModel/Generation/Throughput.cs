namespace LanguageModel.Generation;

/// <summary>How many tokens the model has computed, and how long it took.</summary>
internal readonly record struct Throughput(int Tokens, TimeSpan Time)
{
    public double TokensPerSecond => Tokens == 0 ? 0 : Tokens / Time.TotalSeconds;

    public static Throughput operator +(Throughput a, Throughput b) => new(a.Tokens + b.Tokens, a.Time + b.Time);
}
