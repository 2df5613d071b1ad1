using FusedKernels;
using LanguageModel.Generation;
using LanguageModel.Tests.Training;

namespace LanguageModel.Tests.Generation;

[TestClass]
public sealed class GeneratorTests
{
    [TestMethod]
    public void A_trained_model_writes_sentences_of_its_text_and_the_same_ones_every_time()
    {
        using TrainingFixture run = new(TrainingFixture.SmallSettings with { Steps = 400 });
        run.Train(400);
        using FusedContext context = FusedContext.Cpu();

        string[] sentences = Sample(seed: 1);
        foreach (string sentence in sentences)
        {
            StringAssert.Matches(sentence, new("^Sets the \\w+ of (one|each|last) \\w+\\.$"));
        }

        CollectionAssert.AreEqual(sentences, Sample(seed: 1));
        CollectionAssert.AreNotEqual(sentences, Sample(seed: 2));

        string[] Sample(ulong seed) =>
            [.. new Generator(context, run.Trainer.Model, run.Text.Vocabulary, run.Settings.Context, seed).Sentences("Sets the", 5)];
    }
}
