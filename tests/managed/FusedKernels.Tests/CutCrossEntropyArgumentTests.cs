namespace FusedKernels.Tests;

/// <summary>What cut cross-entropy says to arguments that do not fit: which one, what it got and what is allowed.</summary>
[TestClass]
public sealed class CutCrossEntropyArgumentTests
{
    private delegate void Change(ref CutCrossEntropyTensors tensors);

    [TestMethod, BackendData]
    public void MissingArraysAreNamedAsProperties(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AssertForwardRefused(context, (ref t) => t.Embeddings = default, default, "Embeddings is not set", "[N, D]");
        AssertForwardRefused(context, (ref t) => t.Embeddings = (float[,]?)null, default, "Embeddings is not set");
        AssertForwardRefused(context, (ref t) => t.Classifier = default, default, "Classifier is not set", "[V, D]");
        AssertForwardRefused(context, (ref t) => t.Targets = default, default, "Targets is not set", "TargetProbabilities");
        AssertForwardRefused(context, (ref t) => t.Targets = (int[]?)null, default, "Targets is not set");
        AssertForwardRefused(
            context, (ref t) => { t.Targets = default; t.Losses = new float[5]; }, new() { Reduction = LossReduction.None },
            "Targets is not set");
        AssertForwardRefused(
            context, (ref t) => { t.Targets = default; t.TargetLogProbability = new float[5]; },
            new() { Reduction = LossReduction.None }, "targets", "NULL");
        AssertBackwardRefused(context, (ref t) => t.LogSumExp = default, default, "LogSumExp is not set", "forward pass");
        AssertBackwardRefused(
            context, (ref t) => { }, new() { LossShape = LossShape.Focal(2) }, "TargetLogProbability is not set", "LossShape");
        AssertBackwardRefused(context, (ref t) => t.GradEntropy = new float[5], default, "Entropy is not set", "GradEntropy");
    }

    [TestMethod, BackendData]
    public void WhatDoesNotFitTheReductionIsNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyOptions perRow = new() { Reduction = LossReduction.None }, sum = new() { Reduction = LossReduction.Sum };
        AssertForwardRefused(context, (ref t) => t.Losses = new float[5], default, "Losses is set", "Mean", "None");
        AssertBackwardRefused(context, (ref t) => t.GradLosses = new float[5], sum, "GradLosses is set", "Sum", "GradLoss,");
        AssertBackwardRefused(context, (ref t) => t.GradLoss = 1, perRow, "GradLoss is set", "None", "GradLosses");
    }

    [TestMethod, BackendData]
    public void ShortFormsRefuseReductionNone(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(5, 7, 3);
        CutCrossEntropyOptions perRow = new() { Reduction = LossReduction.None };
        ArgumentException forward = Assert.ThrowsExactly<ArgumentException>(() => CutCrossEntropy.Forward(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, perRow));
        ArgumentException both = Assert.ThrowsExactly<ArgumentException>(() => CutCrossEntropy.LossAndGradient(
            context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets, problem.DEmbeddings.Span, default,
            perRow));
        Messages.AssertNames(forward, "Reduction is None", "Mean or Sum");
        Messages.AssertNames(both, "Reduction is None", "Mean or Sum");
    }

    [TestMethod, BackendData]
    public void SequencesThatDoNotDivideTheRowsAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AssertForwardRefused(context, (ref t) => t.SequenceLength = 2, default, "Embeddings", "5 rows", "SequenceLength 2");
        AssertForwardRefused(context, (ref t) => t.SequenceLength = -1, default, "SequenceLength is -1");
    }

    [TestMethod, BackendData]
    public void ShapesThatDoNotMatchAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AssertForwardRefused(context, (ref t) => t.Targets = new int[4], default, "targets", "4", "5");
        AssertForwardRefused(context, (ref t) => t.Classifier = new float[7, 2], default, "classifier", "2", "3");
        AssertForwardRefused(context, (ref t) => t.Bias = new float[6], default, "bias", "6", "7");
        AssertForwardRefused(context, (ref t) => t.ClassWeights = new float[8], default, "class_weights", "8", "7");
        AssertForwardRefused(context, (ref t) => t.RowWeights = new float[3], default, "row_weights", "3", "5");
        AssertForwardRefused(context, (ref t) => t.LogSumExp = new float[6], default, "log_sum_exp", "6", "5");
        AssertForwardRefused(context, (ref t) => t.Entropy = new float[6], default, "entropy", "6", "5");
        AssertForwardRefused(
            context, (ref t) => t.TargetLogProbability = new float[6], default, "target_log_probability", "6", "5");
        AssertForwardRefused(context, (ref t) => t.TopTokens = new int[4, 2], default, "top_tokens", "4", "5");
        AssertForwardRefused(context, (ref t) => t.TopTokens = new int[5, 33], default, "top_tokens", "33", "32");
        AssertForwardRefused(
            context, (ref t) => t.TopLogProbabilities = new float[5, 2], default, "top_log_probabilities", "top_tokens");
        AssertBackwardRefused(context, (ref t) => t.DEmbeddings = new float[4, 3], default, "d_embeddings", "4", "5");
        AssertBackwardRefused(context, (ref t) => t.DClassifier = new float[7, 4], default, "d_classifier", "4", "3");
        AssertBackwardRefused(context, (ref t) => t.DBias = new float[7], default, "d_bias", "needs NULL without bias");
        AssertBackwardRefused(
            context, (ref t) => { t.Bias = new float[7]; t.DBias = new float[5]; }, default, "d_bias", "5", "7");
        AssertBackwardRefused(context, (ref t) => t.GradLogSumExp = new float[4], default, "grad_log_sum_exp", "4", "5");
    }

    [TestMethod, BackendData]
    public void WhatAPassDoesNotGiveIsNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        AssertForwardRefused(context, (ref t) => t.DEmbeddings = new float[5, 3], default, "d_embeddings");
        AssertForwardRefused(context, (ref t) => t.GradLoss = 1, default, "grad_loss");
        AssertForwardRefused(context, (ref t) => t.WantDLogitScale = true, default, "d_logit_scale");
        AssertForwardRefused(context, (ref t) => t.WantFilterReport = true, default, "filter_report");
        AssertBackwardRefused(context, (ref t) => t.WantAccuracy = true, default, "accuracy");
        AssertBackwardRefused(context, (ref t) => t.TopTokens = new int[5, 1], default, "top_tokens");
    }

    [TestMethod, BackendData]
    public void OptionsOutOfRangeAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        void AssertRefused(CutCrossEntropyOptions options, string name, string value) =>
            AssertForwardRefused(context, (ref t) => { }, options, name, value);
        AssertRefused(new() { Shift = -1 }, "shift", "-1");
        AssertRefused(new() { LogitScale = 0 }, "logit_scale", "0");
        AssertRefused(new() { LogitScale = float.NaN }, "logit_scale", "nan");
        AssertRefused(new() { Softcap = -2 }, "softcap", "-2");
        AssertRefused(new() { Softcap = float.PositiveInfinity }, "softcap", "inf");
        AssertRefused(new() { LabelSmoothing = 1.5f }, "label_smoothing", "1.5");
        AssertRefused(new() { ZLoss = -1 }, "z_loss", "-1");
        AssertRefused(new() { LossShape = LossShape.Focal(-1) }, "loss_shape_parameter", "-1");
        AssertRefused(new() { LossShape = LossShape.Poly1(-2) }, "loss_shape_parameter", "-2");
        AssertRefused(new() { LossShape = LossShape.Generalised(2) }, "loss_shape_parameter", "2");
        AssertRefused(new() { LossShape = LossShape.Focal(2), LabelSmoothing = 0.1f }, "loss_shape", "label_smoothing");
        AssertRefused(new() { FilterDEmbeddings = 1 }, "filter_d_embeddings", "1");
        AssertRefused(new() { FilterDClassifier = -1 }, "filter_d_classifier", "-1");
        AssertRefused(new() { Reduction = (LossReduction)3 }, "reduction", "3");
        AssertRefused(new() { Schedule = (LossSchedule)4 }, "schedule", "4");
        AssertRefused(new() { VocabularyOffset = 1 }, "vocabulary_offset", "1");
    }

    [TestMethod, BackendData]
    public void TargetOutOfRangeNamesItsRow(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        CutCrossEntropyProblem problem = new(5, 7, 3);
        problem.Targets[4] = 7;
        ArgumentOutOfRangeException error = Assert.ThrowsExactly<ArgumentOutOfRangeException>(
            () => CutCrossEntropy.Forward(context, problem.Embeddings.Span, problem.Classifier.Span, problem.Targets));
        Messages.AssertNames(error, "targets", "row 4 is 7");
    }

    [TestMethod, BackendData]
    public void OverlappingOutputsAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        float[] one = new float[5];
        AssertForwardRefused(
            context, (ref t) => { t.LogSumExp = one; t.Entropy = one; }, default, "log_sum_exp", "entropy", "overlap");
    }

    private static void AssertForwardRefused(
        FusedContext context, Change change, CutCrossEntropyOptions options, params string[] parts)
    {
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() =>
        {
            CutCrossEntropyTensors tensors = new CutCrossEntropyProblem(5, 7, 3).Inputs();
            change(ref tensors);
            CutCrossEntropy.Forward(context, tensors, options);
        });
        Messages.AssertNames(error, parts);
    }

    private static void AssertBackwardRefused(
        FusedContext context, Change change, CutCrossEntropyOptions options, params string[] parts)
    {
        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() =>
        {
            CutCrossEntropyTensors tensors = new CutCrossEntropyProblem(5, 7, 3).Inputs();
            tensors.LogSumExp = new float[5];
            tensors.DEmbeddings = new float[5, 3];
            change(ref tensors);
            CutCrossEntropy.Backward(context, tensors, options);
        });
        Messages.AssertNames(error, parts);
    }
}
