using FusedKernels.Tests.Oracles;

namespace FusedKernels.Tests;

[TestClass, RunOnEveryInstructionSet]
public sealed class DistillationTests
{
    [TestMethod, BackendData(1f, 2.5f, 0.5f)]
    public void ForwardAndBackwardMatchOracle(string backend, float temperature)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (LossReduction reduction in Enum.GetValues<LossReduction>())
            foreach ((int rows, int classes, int dims) in ((int, int, int)[])[(1, 2, 1), (37, 143, 19), (17, 300, 65)])
            {
                Problem problem = new(rows, classes, dims, ElementType.Float, ElementType.Float);
                problem.Compare(context, new() { Reduction = reduction, Temperature = temperature });
            }
    }

    [TestMethod, BackendData(ElementType.Float, ElementType.BFloat16, ElementType.Half)]
    public void StoredTypesMatchOracle(string backend, ElementType student)
    {
        using FusedContext context = Backends.Create(backend);
        foreach (ElementType teacher in Enum.GetValues<ElementType>())
            new Problem(33, 67, 20, student, teacher).Compare(context, new() { Temperature = 2 });
    }

    [TestMethod, BackendData]
    public void ATeacherOfItselfHasNothingToTeach(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        TestMatrix embeddings = TestMatrix.Random(9, 5, 1), classifier = TestMatrix.Random(40, 5, 2);
        float[] losses = new float[9], student = new float[9], teacher = new float[9];
        TestMatrix gradient = new(9, 5);
        DistillationOptions options = new() { Reduction = LossReduction.None };
        DistillationTensors tensors = new()
        {
            StudentEmbeddings = embeddings.Span, StudentClassifier = classifier.Span, TeacherEmbeddings = embeddings.Span,
            TeacherClassifier = classifier.Span, Losses = losses, StudentLogSumExp = student, TeacherLogSumExp = teacher,
        };
        Assert.IsTrue(float.IsNaN(Distillation.Forward(context, tensors, options)));
        Assert.IsTrue(losses.All(loss => loss == 0), "equal logits differ by exactly 0");
        CollectionAssert.AreEqual(student, teacher);
        tensors.Losses = default;
        tensors.DStudentEmbeddings = gradient.Span;
        Distillation.Backward(context, tensors, options);
        Assert.IsTrue(gradient.Elements().All(value => value == 0));
    }

    [TestMethod, BackendData]
    public void ThreadsDoNotChangeTheBits(string backend) =>
        SameBits.AcrossThreads(backend, context =>
        {
            Problem problem = new(150, 517, 33, ElementType.Float, ElementType.Float);
            return problem.Run(context, default);
        });

    [TestMethod, BackendData]
    public void WrongArgumentsAreNamed(string backend)
    {
        using FusedContext context = Backends.Create(backend);
        Problem problem = new(5, 7, 3, ElementType.Float, ElementType.Float);
        void AssertRefused(bool isBackward, Change change, DistillationOptions options, params string[] parts)
        {
            ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() =>
            {
                DistillationTensors tensors = problem.Inputs();
                tensors.RowWeights = default;
                if (isBackward)
                {
                    tensors.StudentLogSumExp = new float[5];
                    tensors.TeacherLogSumExp = new float[5];
                    tensors.DStudentEmbeddings = new float[5, 3];
                }
                change(ref tensors);
                if (isBackward) Distillation.Backward(context, tensors, options);
                else Distillation.Forward(context, tensors, options);
            });
            Messages.AssertNames(error, parts);
        }
        DistillationOptions perRow = new() { Reduction = LossReduction.None };
        AssertRefused(false, (ref t) => t.StudentEmbeddings = default, default, "StudentEmbeddings is not set", "[N, D]");
        AssertRefused(false, (ref t) => t.StudentClassifier = default, default, "StudentClassifier is not set", "[V, D]");
        AssertRefused(false, (ref t) => t.TeacherEmbeddings = default, default, "TeacherEmbeddings is not set", "[N, T]");
        AssertRefused(false, (ref t) => t.TeacherClassifier = default, default, "TeacherClassifier is not set", "[V, T]");
        AssertRefused(false, (ref t) => { }, perRow, "Losses is not set", "LossReduction.None");
        AssertRefused(false, (ref t) => t.Losses = new float[5], default, "Losses is set", "Mean");
        AssertRefused(true, (ref t) => t.GradLosses = new float[5], default, "GradLosses is set", "Mean");
        AssertRefused(true, (ref t) => t.GradLoss = 1, perRow, "GradLoss is set", "GradLosses");
        AssertRefused(true, (ref t) => t.StudentLogSumExp = default, default, "StudentLogSumExp is not set");
        AssertRefused(true, (ref t) => t.TeacherLogSumExp = default, default, "TeacherLogSumExp is not set");
        AssertRefused(false, (ref t) => { }, new() { Temperature = 0 }, "temperature", "0");
        AssertRefused(false, (ref t) => { }, new() { Temperature = float.NaN }, "temperature", "nan");
        AssertRefused(false, (ref t) => t.TeacherEmbeddings = new float[4, 4], default, "teacher_embeddings", "4", "5");
        AssertRefused(false, (ref t) => t.TeacherClassifier = new float[8, 4], default, "teacher_classifier", "8", "7");
        AssertRefused(false, (ref t) => t.RowWeights = new float[6], default, "row_weights", "6", "5");
        AssertRefused(true, (ref t) => t.DStudentEmbeddings = new float[5, 4], default, "d_student_embeddings", "4", "3");
        AssertRefused(false, (ref t) => t.DStudentEmbeddings = new float[5, 3], default, "d_student_embeddings");
    }

    private delegate void Change(ref DistillationTensors tensors);

    /// <summary>Random models; every fourth row has weight 0.</summary>
    private sealed class Problem(int rows, int classes, int dims, ElementType student, ElementType teacher)
    {
        private readonly TestMatrix _studentEmbeddings = TestMatrix.Random(rows, dims, 1, 2).RoundTo(student);
        private readonly TestMatrix _studentClassifier = TestMatrix.Random(classes, dims, 2).RoundTo(student);
        private readonly TestMatrix _teacherEmbeddings = TestMatrix.Random(rows, dims + 1, 3, 2).RoundTo(teacher);
        private readonly TestMatrix _teacherClassifier = TestMatrix.Random(classes, dims + 1, 4).RoundTo(teacher);
        private readonly float[] _rowWeights = [.. Enumerable.Range(0, rows).Select(row => 0.5f * ((row + 1) % 4))];
        private readonly float[] _losses = new float[rows], _student = new float[rows], _teacher = new float[rows];
        private readonly TestMatrix _dEmbeddings = new(rows, dims), _dClassifier = new(classes, dims);

        public DistillationTensors Inputs() => new()
        {
            StudentEmbeddings = _studentEmbeddings.As(student), StudentClassifier = _studentClassifier.As(student),
            TeacherEmbeddings = _teacherEmbeddings.As(teacher), TeacherClassifier = _teacherClassifier.As(teacher),
            RowWeights = _rowWeights,
        };

        public int[] Run(FusedContext context, DistillationOptions options)
        {
            float loss = ForwardAndBackward(context, options, null, null);
            return [BitConverter.SingleToInt32Bits(loss), .. _student.Select(BitConverter.SingleToInt32Bits),
                .. _dEmbeddings.Bits(), .. _dClassifier.Bits()];
        }

        public void Compare(FusedContext context, DistillationOptions options)
        {
            bool isPerRow = options.Reduction == LossReduction.None;
            float[] gradLosses = [.. Enumerable.Range(0, rows).Select(row => isPerRow ? 0.5f * (row % 3) - 0.7f : -1.5f)];
            float loss = ForwardAndBackward(context, options, isPerRow ? null : -1.5f, isPerRow ? gradLosses : null);

            DistillationOracle oracle = new(
                _studentEmbeddings, _studentClassifier, _teacherEmbeddings, _teacherClassifier, _rowWeights, gradLosses,
                options);
            string what = $"N {rows}, V {classes}, D {dims}, {student} x {teacher}, {options}";
            if (!isPerRow) oracle.Loss.AssertNear(loss, $"loss of {what}");
            for (int row = 0; row < rows; row++)
            {
                if (isPerRow) oracle.Losses[row].AssertNear(_losses[row], $"losses[{row}] of {what}");
                if (_rowWeights[row] == 0) continue;
                oracle.StudentLogSumExp[row].AssertNear(_student[row], $"studentLogSumExp[{row}] of {what}");
                oracle.TeacherLogSumExp[row].AssertNear(_teacher[row], $"teacherLogSumExp[{row}] of {what}");
            }
            AssertMatrix(_dEmbeddings, $"dStudentEmbeddings of {what}", oracle.DStudentEmbedding);
            AssertMatrix(_dClassifier, $"dStudentClassifier of {what}", oracle.DStudentClassifier);
        }

        private float ForwardAndBackward(
            FusedContext context, DistillationOptions options, float? gradLoss, float[]? gradLosses)
        {
            DistillationTensors tensors = Inputs();
            tensors.StudentLogSumExp = _student;
            tensors.TeacherLogSumExp = _teacher;
            if (options.Reduction == LossReduction.None) tensors.Losses = _losses;
            float loss = Distillation.Forward(context, tensors, options);
            tensors.Losses = default;
            tensors.GradLoss = gradLoss;
            tensors.GradLosses = gradLosses;
            tensors.DStudentEmbeddings = _dEmbeddings.Span;
            tensors.DStudentClassifier = _dClassifier.Span;
            Distillation.Backward(context, tensors, options);
            return loss;
        }

        private static void AssertMatrix(TestMatrix matrix, string name, Func<int, int, Bounded> oracle)
        {
            matrix.AssertGapsUntouched(name);
            for (int row = 0; row < matrix.Rows; row++)
                for (int d = 0; d < matrix.Columns; d++) oracle(row, d).AssertNear(matrix[row, d], $"[{row}, {d}] of {name}");
        }
    }
}
