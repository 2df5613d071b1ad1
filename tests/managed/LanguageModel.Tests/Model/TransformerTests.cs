using FusedKernels;
using LanguageModel.Model;
using LanguageModel.Training;

namespace LanguageModel.Tests.Model;

[TestClass]
public sealed class TransformerTests
{
    private static readonly ModelShape Shape = new(Vocabulary: 13, Layers: 2, Dim: 8, Heads: 2, KvHeads: 2);
    private static readonly BatchShape Batch = new(Sequences: 2, Length: 5);
    private static readonly int[] Tokens = [3, 1, 12, 0, 7, 7, 2, 5, 11, 4];
    private static readonly int[] Targets = [1, 12, 0, 7, 9, 2, ILossHead.Ignored, 11, 4, 8];

    /// <summary>Values far from the initial ones, so that every layer matters and every gradient is large.</summary>
    private static Transformer NewModel(ILossHead? lossHead = null) => NewModel(Shape, lossHead);

    private static Transformer NewModel(ModelShape shape, ILossHead? lossHead = null)
    {
        Transformer model = new(shape, lossHead ?? new CutLossHead(), Batch.Rows);
        RandomNumbers random = new(8, 0);
        foreach (Parameter parameter in model.Parameters.Items)
        {
            foreach (ref float value in parameter.Value.Data.AsSpan())
            {
                value = (float)(0.5 * random.NextGaussian()) + (parameter.IsMatrix ? 0 : 1);
            }
        }

        return model;
    }

    [TestMethod]
    [DataRow(2, null)]
    [DataRow(1, 2)]
    public void Gradients_agree_with_finite_differences(int kvHeads, int? window)
    {
        using FusedContext context = FusedContext.Cpu();
        Transformer model = NewModel(Shape with { KvHeads = kvHeads, Window = window });
        model.LossAndGradient(context, Batch, Tokens, Targets);
        RandomNumbers random = new(9, 0);
        foreach (Parameter parameter in model.Parameters.Items)
        {
            float[] gradient = [.. parameter.Gradient.Data];
            CheckDirection(gradient);
            CheckDirection([.. gradient.Select(_ => (float)random.NextGaussian())]);

            void CheckDirection(float[] direction)
            {
                double norm = Math.Sqrt(direction.Sum(d => (double)d * d));
                double expected = gradient.Zip(direction, (g, d) => g * (d / norm)).Sum();
                double measured = Derivative(context, model, parameter, [.. direction.Select(d => d / norm)]);

                // The loss is near 4, and ten roundings of 6e-8 put it off by 2.4e-6. The stencil multiplies that by
                // 18 / (12 h) = 750, which gives 1.8e-3. Its truncation, h^4 / 30 times the fifth derivative, is far less:
                // even 1e7 (an RMSNorm of a short embedding is that crooked) adds 5e-6.
                Assert.AreEqual(expected, measured, 2e-3, parameter.Name);
            }

            // The tolerance means something only for gradients well above it.
            Assert.IsGreaterThan(0.02, Math.Sqrt(gradient.Sum(g => (double)g * g)), parameter.Name);
        }
    }

    /// <summary>The five-point stencil along a direction of unit length.</summary>
    private static double Derivative(FusedContext context, Transformer model, Parameter parameter, double[] direction)
    {
        const double H = 0.002;
        return ((8 * (LossAt(H) - LossAt(-H))) - (LossAt(2 * H) - LossAt(-2 * H))) / (12 * H);

        double LossAt(double distance)
        {
            float[] values = [.. parameter.Value.Data];
            for (int i = 0; i < values.Length; i++)
            {
                parameter.Value.Data[i] = (float)(values[i] + (distance * direction[i]));
            }

            double sum = model.Loss(context, Batch, Tokens, Targets);
            values.CopyTo(parameter.Value.Data, 0);
            return sum / Targets.Count(target => target != ILossHead.Ignored);
        }
    }

    [TestMethod]
    public void Both_loss_heads_give_the_same_loss_and_gradients()
    {
        using FusedContext context = FusedContext.Cpu();
        Transformer cut = NewModel();
        Transformer materialised = NewModel(new MaterialisedLossHead(Batch.Rows, Shape.Vocabulary));

        float cutLoss = cut.LossAndGradient(context, Batch, Tokens, Targets);
        float materialisedLoss = materialised.LossAndGradient(context, Batch, Tokens, Targets);

        // Sums of at most 13 terms in another order: some roundings of 6e-8.
        Assert.AreEqual(cutLoss, materialisedLoss, 1e-6 * cutLoss);
        Assert.AreEqual(cut.Loss(context, Batch, Tokens, Targets), materialised.Loss(context, Batch, Tokens, Targets), 1e-5);
        foreach ((Parameter a, Parameter b) in cut.Parameters.Items.Zip(materialised.Parameters.Items))
        {
            for (int i = 0; i < a.Count; i++)
            {
                // Gradients are of order 1 at most, and pass a few hundred roundings of 6e-8 on the way through the layers.
                Assert.AreEqual(a.Gradient.Data[i], b.Gradient.Data[i], 2e-5, a.Name);
            }
        }
    }

    [TestMethod]
    public void A_token_sees_those_before_it_in_order_and_nothing_else()
    {
        using FusedContext context = FusedContext.Cpu();
        Transformer model = NewModel();
        int[] onlyThird = [.. Enumerable.Repeat(ILossHead.Ignored, 10)];
        onlyThird[2] = 4;
        float loss = model.Loss(context, Batch, Tokens, onlyThird);

        Assert.AreEqual(loss, LossWithTokens([3, 1, 12, 9, 9, 7, 2, 5, 11, 4]), "later tokens");
        Assert.AreEqual(loss, LossWithTokens([3, 1, 12, 0, 7, 1, 1, 1, 1, 1]), "another sequence");
        Assert.AreNotEqual(loss, LossWithTokens([5, 1, 12, 0, 7, 7, 2, 5, 11, 4]), "an earlier token");
        Assert.AreNotEqual(loss, LossWithTokens([1, 3, 12, 0, 7, 7, 2, 5, 11, 4]), "the order of earlier tokens");

        float LossWithTokens(int[] tokens) => model.Loss(context, Batch, tokens, onlyThird);
    }

    [TestMethod]
    public void A_token_sees_its_window_and_nothing_else()
    {
        using FusedContext context = FusedContext.Cpu();
        Transformer model = NewModel(Shape with { Layers = 1, Window = 2 });
        int[] onlyFourth = [.. Enumerable.Repeat(ILossHead.Ignored, 10)];
        onlyFourth[3] = 4;
        float loss = model.Loss(context, Batch, Tokens, onlyFourth);

        Assert.AreEqual(loss, LossWithTokens([9, 9, 12, 0, 7, 7, 2, 5, 11, 4]), "tokens before the window");
        Assert.AreNotEqual(loss, LossWithTokens([3, 1, 9, 0, 7, 7, 2, 5, 11, 4]), "the other token of the window");

        float LossWithTokens(int[] tokens) => model.Loss(context, Batch, tokens, onlyFourth);
    }

    [TestMethod]
    public void Heads_that_share_keys_and_values_act_as_heads_with_equal_ones()
    {
        using FusedContext context = FusedContext.Cpu();
        Transformer shared = NewModel(Shape with { Heads = 4, KvHeads = 2 });
        Transformer equal = NewModel(Shape with { Heads = 4, KvHeads = 4 });
        foreach ((Parameter from, Parameter to) in shared.Parameters.Items.Zip(equal.Parameters.Items))
        {
            // Columns of heads, two each: queries 0 to 3, then keys 0 and 1, then values 0 and 1.
            int[] heads = from.Count == to.Count
                ? [.. Enumerable.Range(0, from.Value.Columns / 2)]
                : [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7];
            for (int row = 0; row < to.Value.Rows; row++)
            {
                for (int column = 0; column < to.Value.Columns; column++)
                {
                    int source = (2 * heads[column / 2]) + (column % 2);
                    to.Value.Data[(row * to.Value.Columns) + column] = from.Value.Data[(row * from.Value.Columns) + source];
                }
            }
        }

        // The same sums of products; only their order may differ, by some roundings of 6e-8.
        Assert.AreEqual(shared.Loss(context, Batch, Tokens, Targets), equal.Loss(context, Batch, Tokens, Targets), 1e-4);
    }

    [TestMethod]
    public void Next_token_scores_are_those_that_the_loss_uses()
    {
        using FusedContext context = FusedContext.Cpu();
        Transformer model = NewModel();
        float[] logits = new float[Shape.Vocabulary];
        model.NextTokenLogits(context, Tokens.AsSpan(0, 3), logits);

        int[] target = [ILossHead.Ignored, ILossHead.Ignored, 6];
        float loss = model.Loss(context, new BatchShape(1, 3), Tokens.AsSpan(0, 3), target);

        // One log and 13 exponentials in double, from float logits.
        Assert.AreEqual(Math.Log(logits.Sum(logit => Math.Exp(logit))) - logits[6], loss, 1e-5);
    }
}
