using LanguageModel.Data;
using LanguageModel.Generation;

namespace LanguageModel.Tests.Generation;

[TestClass]
public sealed class TokenSamplerTests
{
    // Vocabulary.Unknown has the highest score and is never drawn.
    private static readonly float[] Logits = [MathF.Log(0.02f), 5, MathF.Log(0.5f), MathF.Log(0.3f), MathF.Log(0.18f)];

    [TestMethod]
    public void Without_a_temperature_the_most_likely_known_token_is_drawn()
    {
        TokenSampler sampler = new(Logits.Length, temperature: 0, seed: 1);
        Assert.AreEqual(1, Vocabulary.Unknown);
        Assert.IsTrue(Enumerable.Range(0, 100).All(_ => sampler.Draw(Logits) == 2));
    }

    [TestMethod]
    public void Tokens_of_the_nucleus_are_drawn_as_often_as_they_are_likely_and_others_never()
    {
        const int Draws = 10_000;
        TokenSampler sampler = new(Logits.Length, temperature: 1, seed: 1);
        int[] counts = new int[Logits.Length];
        for (int i = 0; i < Draws; i++)
        {
            counts[sampler.Draw(Logits)]++;
        }

        // 0.5 + 0.3 is below 0.95, with 0.18 it is above: the last 0.02 are not drawn. Five standard errors of a share.
        double tolerance = 5 * 0.5 / Math.Sqrt(Draws);
        Assert.AreEqual(0, counts[0]);
        Assert.AreEqual(0, counts[Vocabulary.Unknown]);
        Assert.AreEqual(0.5 / 0.98, counts[2] / (double)Draws, tolerance);
        Assert.AreEqual(0.3 / 0.98, counts[3] / (double)Draws, tolerance);
        Assert.AreEqual(0.18 / 0.98, counts[4] / (double)Draws, tolerance);
    }

    [TestMethod]
    public void A_lower_temperature_prefers_likely_tokens()
    {
        TokenSampler cold = new(Logits.Length, temperature: 0.25, seed: 1);
        // 0.5^4, 0.3^4 and 0.18^4 are as 0.88 to 0.11 to 0.01; of these the first two make up the nucleus.
        Assert.AreEqual(0.885, Enumerable.Range(0, 10_000).Average(_ => cold.Draw(Logits) == 2 ? 1.0 : 0), 0.025);
    }
}
