namespace FusedKernels.Interop;

/// <summary>Pins the arrays of a call of <see cref="Distillation"/>, describes them, and runs a pass on them.</summary>
internal static unsafe class DistillationCall
{
    /// <summary>The mean or the sum of the losses; NaN where the pass computes none.</summary>
    public static float Run(
        bool isBackward, FusedContext context, in DistillationTensors tensors, DistillationOptions options,
        CancellationToken cancellationToken)
    {
        Check(isBackward, tensors, options);
        const int Count = 11;
        DLTensor* descriptions = stackalloc DLTensor[Count];
        long* dimensions = stackalloc long[Count * LossTensorList.DimensionsPerTensor];
        LossTensorList list = new(descriptions, dimensions, Count);
        float loss = float.NaN, gradLoss = tensors.GradLoss ?? 1;
        fixed (byte* studentEmbeddings = tensors.StudentEmbeddings, studentClassifier = tensors.StudentClassifier)
        fixed (byte* teacherEmbeddings = tensors.TeacherEmbeddings, teacherClassifier = tensors.TeacherClassifier)
        fixed (float* rowWeights = tensors.RowWeights, losses = tensors.Losses, gradLosses = tensors.GradLosses)
        fixed (float* studentLogSumExp = tensors.StudentLogSumExp, teacherLogSumExp = tensors.TeacherLogSumExp)
        fixed (float* dStudentEmbeddings = tensors.DStudentEmbeddings, dStudentClassifier = tensors.DStudentClassifier)
        {
            DistillationTensorPointers pointers = new()
            {
                StudentEmbeddings = list.AddMatrix(studentEmbeddings, tensors.StudentEmbeddings),
                StudentClassifier = list.AddMatrix(studentClassifier, tensors.StudentClassifier),
                TeacherEmbeddings = list.AddMatrix(teacherEmbeddings, tensors.TeacherEmbeddings),
                TeacherClassifier = list.AddMatrix(teacherClassifier, tensors.TeacherClassifier),
                RowWeights = list.AddVector(rowWeights, tensors.RowWeights.Length),
                Loss = isBackward ? null
                    : options.Reduction != LossReduction.None ? list.AddScalar(&loss)
                    : list.AddRows(losses, tensors.Losses.Length, nameof(tensors.Losses), needed: true),
                StudentLogSumExp = list.AddRows(
                    studentLogSumExp, tensors.StudentLogSumExp.Length, nameof(tensors.StudentLogSumExp), needed: isBackward),
                TeacherLogSumExp = list.AddRows(
                    teacherLogSumExp, tensors.TeacherLogSumExp.Length, nameof(tensors.TeacherLogSumExp), needed: isBackward),
                GradLoss = tensors.GradLoss.HasValue ? list.AddScalar(&gradLoss)
                    : list.AddVector(gradLosses, tensors.GradLosses.Length),
                DStudentEmbeddings = list.AddMatrix(dStudentEmbeddings, tensors.DStudentEmbeddings),
                DStudentClassifier = list.AddMatrix(dStudentClassifier, tensors.DStudentClassifier),
            };
            if (isBackward) FusedKernelsInterop.DistillationBackward(context, pointers, options, cancellationToken);
            else FusedKernelsInterop.DistillationForward(context, pointers, options, cancellationToken);
        }
        return loss;
    }

    private static void Check(bool isBackward, in DistillationTensors tensors, DistillationOptions options)
    {
        const string Types = "of float, BFloat16 or Half";
        TensorArguments.Require(tensors.StudentEmbeddings.IsSet, nameof(tensors.StudentEmbeddings), $"[N, D] {Types}");
        TensorArguments.Require(tensors.StudentClassifier.IsSet, nameof(tensors.StudentClassifier), $"[V, D] {Types}");
        TensorArguments.Require(tensors.TeacherEmbeddings.IsSet, nameof(tensors.TeacherEmbeddings), $"[N, T] {Types}");
        TensorArguments.Require(tensors.TeacherClassifier.IsSet, nameof(tensors.TeacherClassifier), $"[V, T] {Types}");
        bool hasRows = tensors.StudentEmbeddings.Height != 0;
        if (isBackward)
        {
            const string Written = "[N], what the forward pass wrote";
            TensorArguments.Require(!hasRows || !tensors.StudentLogSumExp.IsEmpty, nameof(tensors.StudentLogSumExp), Written);
            TensorArguments.Require(!hasRows || !tensors.TeacherLogSumExp.IsEmpty, nameof(tensors.TeacherLogSumExp), Written);
        }
        else if (options.Reduction == LossReduction.None)
            TensorArguments.Require(
                !hasRows || !tensors.Losses.IsEmpty, nameof(tensors.Losses), "[N], one loss per row for LossReduction.None");
        LossArguments.CheckReduction(
            options.Reduction, !tensors.Losses.IsEmpty, !tensors.GradLosses.IsEmpty, tensors.GradLoss.HasValue);
    }
}
