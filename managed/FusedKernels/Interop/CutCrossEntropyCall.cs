namespace FusedKernels.Interop;

/// <summary>Pins the arrays of a call of <see cref="CutCrossEntropy"/>, describes them, and runs a pass on them.</summary>
internal static unsafe class CutCrossEntropyCall
{
    internal enum Pass
    {
        Forward,
        Backward,
        LossAndGradient,
        Partial,
    }

    /// <summary>What <see cref="Pass.Partial"/> writes.</summary>
    internal readonly ref struct Partials(Span<float> maximum, Span<float> sum, Span<float> target)
    {
        public readonly Span<float> Maximum = maximum, Sum = sum, Target = target;
    }

    public static CutCrossEntropyResult Run(
        Pass pass, FusedContext context, in CutCrossEntropyTensors tensors, in CutCrossEntropyOptions options,
        CancellationToken cancellationToken, Partials partials = default)
    {
        Check(pass, tensors, options);
        const int Count = 25;
        DLTensor* descriptions = stackalloc DLTensor[Count];
        long* dimensions = stackalloc long[Count * LossTensorList.DimensionsPerTensor];
        LossTensorList list = new(descriptions, dimensions, Count, tensors.SequenceLength);
        float loss = float.NaN, accuracy = 0, dLogitScale = 0, gradLoss = tensors.GradLoss ?? 1;
        FilterReport report = default;
        bool isPerRow = options.Reduction == LossReduction.None;
        bool givesLoss = pass is Pass.Forward or Pass.LossAndGradient, isBackward = pass == Pass.Backward;
        fixed (byte* embeddings = tensors.Embeddings, classifier = tensors.Classifier, targets = tensors.Targets)
        fixed (float* targetProbabilities = tensors.TargetProbabilities, bias = tensors.Bias)
        fixed (float* classWeights = tensors.ClassWeights, rowWeights = tensors.RowWeights)
        fixed (float* logSumExp = tensors.LogSumExp, targetLogProbability = tensors.TargetLogProbability)
        fixed (float* entropy = tensors.Entropy, losses = tensors.Losses)
        fixed (int* topTokens = tensors.TopTokens)
        fixed (float* topLogProbabilities = tensors.TopLogProbabilities, gradLosses = tensors.GradLosses)
        fixed (float* gradLogSumExp = tensors.GradLogSumExp, gradEntropy = tensors.GradEntropy)
        fixed (float* dEmbeddings = tensors.DEmbeddings, dClassifier = tensors.DClassifier, dBias = tensors.DBias)
        fixed (float* droppedProbability = tensors.DroppedProbability)
        fixed (float* maximum = partials.Maximum, sum = partials.Sum, target = partials.Target)
        {
            CutCrossEntropyTensorPointers pointers = new()
            {
                Embeddings = list.AddRowMatrix(embeddings, tensors.Embeddings, nameof(tensors.Embeddings)),
                Classifier = list.AddMatrix(classifier, tensors.Classifier),
                Targets = list.AddRows(targets, tensors.Targets, nameof(tensors.Targets)),
                TargetProbabilities = list.AddRowMatrix(
                    targetProbabilities, tensors.TargetProbabilities, nameof(tensors.TargetProbabilities)),
                Bias = list.AddVector(bias, tensors.Bias.Length),
                ClassWeights = list.AddVector(classWeights, tensors.ClassWeights.Length),
                RowWeights = list.AddRows(rowWeights, tensors.RowWeights.Length, nameof(tensors.RowWeights)),
                LogSumExp = list.AddRows(logSumExp, tensors.LogSumExp.Length, nameof(tensors.LogSumExp), needed: isBackward),
                TargetLogProbability = list.AddRows(
                    targetLogProbability, tensors.TargetLogProbability.Length, nameof(tensors.TargetLogProbability),
                    needed: isBackward && options.LossShape.Kind != LossShapeKind.CrossEntropy),
                Entropy = list.AddRows(entropy, tensors.Entropy.Length, nameof(tensors.Entropy)),
                Loss = isPerRow ? list.AddRows(losses, tensors.Losses.Length, nameof(tensors.Losses))
                    : givesLoss ? list.AddScalar(&loss) : null,
                TopTokens = list.AddRowMatrix(
                    topTokens, ReadOnlyMatrix.Of<int>(tensors.TopTokens), nameof(tensors.TopTokens)),
                TopLogProbabilities = list.AddRowMatrix(
                    topLogProbabilities, tensors.TopLogProbabilities, nameof(tensors.TopLogProbabilities)),
                Accuracy = tensors.WantAccuracy ? list.AddScalar(&accuracy) : null,
                GradLoss = tensors.GradLoss.HasValue ? list.AddScalar(&gradLoss)
                    : list.AddRows(gradLosses, tensors.GradLosses.Length, nameof(tensors.GradLosses)),
                GradLogSumExp = list.AddRows(
                    gradLogSumExp, tensors.GradLogSumExp.Length, nameof(tensors.GradLogSumExp)),
                GradEntropy = list.AddRows(gradEntropy, tensors.GradEntropy.Length, nameof(tensors.GradEntropy)),
                DEmbeddings = list.AddRowMatrix(dEmbeddings, tensors.DEmbeddings, nameof(tensors.DEmbeddings)),
                DClassifier = list.AddMatrix(dClassifier, tensors.DClassifier),
                DBias = list.AddVector(dBias, tensors.DBias.Length),
                DLogitScale = tensors.WantDLogitScale ? list.AddScalar(&dLogitScale) : null,
                FilterReport = tensors.WantFilterReport ? &report : null,
                DroppedProbability = list.AddRows(
                    droppedProbability, tensors.DroppedProbability.Length, nameof(tensors.DroppedProbability)),
            };
            if (pass == Pass.Partial)
                FusedKernelsInterop.CutCrossEntropyPartial(
                    context, pointers, list.AddRows(maximum, partials.Maximum.Length, nameof(maximum), needed: true),
                    list.AddRows(sum, partials.Sum.Length, nameof(sum), needed: true),
                    list.AddRows(target, partials.Target.Length, nameof(target), needed: true), options, cancellationToken);
            else if (pass == Pass.Forward)
                FusedKernelsInterop.CutCrossEntropyForward(context, pointers, options, cancellationToken);
            else if (pass == Pass.Backward)
                FusedKernelsInterop.CutCrossEntropyBackward(context, pointers, options, cancellationToken);
            else
                FusedKernelsInterop.CutCrossEntropyLossAndGradient(context, pointers, options, cancellationToken);
        }
        return new CutCrossEntropyResult
        {
            Loss = loss,
            Perplexity = IsMeanCrossEntropy(options) && givesLoss ? MathF.Exp(loss) : null,
            Accuracy = tensors.WantAccuracy ? accuracy : null,
            DLogitScale = tensors.WantDLogitScale ? dLogitScale : null,
            FilterReport = tensors.WantFilterReport ? report : null,
        };
    }

    // Log-sum-exp, entropy and top tokens alone, and gradients that come through them. What else needs a target is refused by
    // name natively.
    private static bool IsWithoutLoss(Pass pass, in CutCrossEntropyTensors tensors, in CutCrossEntropyOptions options) =>
        pass != Pass.Partial && options.Reduction == LossReduction.None && tensors.Losses.IsEmpty && tensors.GradLosses.IsEmpty;

    private static bool IsMeanCrossEntropy(in CutCrossEntropyOptions options) =>
        options is
        {
            Reduction: LossReduction.Mean, LabelSmoothing: 0, ZLoss: 0, LossShape.Kind: LossShapeKind.CrossEntropy,
        };

    private static void Check(Pass pass, in CutCrossEntropyTensors tensors, in CutCrossEntropyOptions options)
    {
        TensorArguments.Require(tensors.Embeddings.IsSet, nameof(tensors.Embeddings), "[N, D] of float, BFloat16 or Half");
        TensorArguments.Require(tensors.Classifier.IsSet, nameof(tensors.Classifier), "[V, D] of float, BFloat16 or Half");
        TensorArguments.Require(
            tensors.Targets.IsSet || !tensors.TargetProbabilities.IsEmpty || IsWithoutLoss(pass, tensors, options),
            nameof(tensors.Targets), "[N] of int or long, or TargetProbabilities, [N, V]");
        if (tensors.SequenceLength < 0)
            throw new ArgumentException(
                $"SequenceLength is {tensors.SequenceLength}; it must be 0 (one sequence) or more.",
                nameof(tensors.SequenceLength));
        bool hasRows = tensors.Embeddings.Height != 0;
        if (pass == Pass.Backward)
        {
            TensorArguments.Require(
                !hasRows || !tensors.LogSumExp.IsEmpty, nameof(tensors.LogSumExp), "[N], what the forward pass wrote");
            TensorArguments.Require(
                !hasRows || !tensors.TargetLogProbability.IsEmpty || options.LossShape.Kind == LossShapeKind.CrossEntropy,
                nameof(tensors.TargetLogProbability), "[N], what the forward pass wrote, for a LossShape of its own");
            TensorArguments.Require(
                !tensors.Entropy.IsEmpty || tensors.GradEntropy.IsEmpty, nameof(tensors.Entropy),
                "[N], what the forward pass wrote, for GradEntropy");
        }
        LossArguments.CheckReduction(
            options.Reduction, !tensors.Losses.IsEmpty, !tensors.GradLosses.IsEmpty, tensors.GradLoss.HasValue);
    }
}
