namespace FusedKernels.Tests.Oracles;

/// <summary>Distillation by plain loops in double, each result with a bound on what a float computation may differ
/// by.</summary>
internal sealed class DistillationOracle
{
    private readonly TestMatrix _studentEmbeddings, _studentClassifier;
    private readonly Bounded[,] _dLogits;
    private readonly float[] _rowWeights;

    public DistillationOracle(
        TestMatrix studentEmbeddings, TestMatrix studentClassifier, TestMatrix teacherEmbeddings,
        TestMatrix teacherClassifier, float[] rowWeights, float[] gradLosses, DistillationOptions options)
    {
        (_studentEmbeddings, _studentClassifier, _rowWeights) = (studentEmbeddings, studentClassifier, rowWeights);
        int rows = studentEmbeddings.Rows, classes = studentClassifier.Rows;
        Bounded temperature = options.Temperature;
        _dLogits = new Bounded[rows, classes];
        (StudentLogSumExp, TeacherLogSumExp, Losses) = (new Bounded[rows], new Bounded[rows], new Bounded[rows]);
        Bounded scale = options.Reduction == LossReduction.Mean
            ? 1 / Bounded.Sum([.. rowWeights.Select(weight => (Bounded)weight)]) : 1;
        for (int row = 0; row < rows; row++)
        {
            if (rowWeights[row] == 0) continue;
            Bounded[] student = LogProbabilities(
                studentEmbeddings, studentClassifier, row, temperature, out StudentLogSumExp[row]);
            Bounded[] teacher = LogProbabilities(
                teacherEmbeddings, teacherClassifier, row, temperature, out TeacherLogSumExp[row]);
            // Kernels may add the teacher's and the student's part apart, whose terms are larger than their difference.
            Bounded[] terms = [.. Enumerable.Range(0, classes).SelectMany(v => (Bounded[])[
                Bounded.Exp(teacher[v]) * teacher[v], 0 - Bounded.Exp(teacher[v]) * student[v]])];
            Losses[row] = rowWeights[row] * (temperature * temperature * Bounded.Sum(terms));
            Bounded gradient = gradLosses[row] * scale * rowWeights[row] * temperature;
            for (int v = 0; v < classes; v++)
                _dLogits[row, v] = gradient * (Bounded.Exp(student[v]) - Bounded.Exp(teacher[v]));
        }
        Loss = Bounded.Sum(Losses) * scale;
    }

    public Bounded[] StudentLogSumExp { get; }

    public Bounded[] TeacherLogSumExp { get; }

    public Bounded[] Losses { get; }

    public Bounded Loss { get; }

    public Bounded DStudentEmbedding(int row, int d) =>
        Bounded.Dot(_studentClassifier.Rows, v => _studentClassifier[v, d], v => _dLogits[row, v]);

    public Bounded DStudentClassifier(int v, int d) => Bounded.Dot(
        _studentEmbeddings.Rows, row => _rowWeights[row] == 0 ? 0 : _studentEmbeddings[row, d], row => _dLogits[row, v]);

    private static Bounded[] LogProbabilities(
        TestMatrix embeddings, TestMatrix classifier, int row, Bounded temperature, out Bounded logSumExp)
    {
        Bounded[] logits = [.. Enumerable.Range(0, classifier.Rows).Select(
            v => Bounded.Dot(embeddings.Columns, d => embeddings[row, d], d => classifier[v, d]) / temperature)];
        Bounded largest = logits.MaxBy(logit => logit.Value).Value; // subtracted and added again, so its error cancels
        Bounded sum = largest + Bounded.Log(Bounded.Sum([.. logits.Select(logit => Bounded.Exp(logit - largest))]));
        logSumExp = sum;
        return [.. logits.Select(logit => logit - sum)];
    }
}
