using CommunityToolkit.HighPerformance;

namespace FusedKernels;

/// <summary>
/// The arrays of a call of <see cref="Distillation"/>: views of the caller's memory, for an object initialiser. The first
/// four are required.
/// </summary>
/// <remarks>
/// N is the number of rows (tokens), D the student's dimension, T the teacher's, V the number of classes. Vectors and
/// results are f32. The rows of matrices may lie apart (slices). An output must not overlap an input or another output.
/// </remarks>
public ref struct DistillationTensors
{
    /// <summary>[N, D], f32, bf16 or f16. Required.</summary>
    public ReadOnlyMatrix StudentEmbeddings { get; set; }

    /// <summary>[V, D], f32, bf16 or f16. Required.</summary>
    public ReadOnlyMatrix StudentClassifier { get; set; }

    /// <summary>[N, T], f32, bf16 or f16. Required.</summary>
    public ReadOnlyMatrix TeacherEmbeddings { get; set; }

    /// <summary>[V, T], f32, bf16 or f16. Required.</summary>
    public ReadOnlyMatrix TeacherClassifier { get; set; }

    /// <summary>[N]: the weight of each row in the loss and in the mean's denominator; not set: 1. Rows of weight 0 have
    /// loss and gradient 0, whatever they hold.</summary>
    public ReadOnlySpan<float> RowWeights { get; set; }

    /// <summary>[N], the forward pass's output with <see cref="LossReduction.None"/>, and only then: the rows'
    /// losses.</summary>
    public Span<float> Losses { get; set; }

    /// <summary>[N], of the logits divided by the temperature: written by the forward pass, read by the backward pass, which
    /// needs it.</summary>
    public Span<float> StudentLogSumExp { get; set; }

    /// <summary>[N], of the logits divided by the temperature: written by the forward pass, read by the backward pass, which
    /// needs it.</summary>
    public Span<float> TeacherLogSumExp { get; set; }

    /// <summary>The gradient that arrives at the mean or the sum; null (default): 1.</summary>
    public float? GradLoss { get; set; }

    /// <summary>[N], the gradients that arrive at the losses, with <see cref="LossReduction.None"/>; not set: 1
    /// each.</summary>
    public ReadOnlySpan<float> GradLosses { get; set; }

    /// <summary>[N, D], overwritten by the backward pass; not set: not wanted.</summary>
    public Span2D<float> DStudentEmbeddings { get; set; }

    /// <summary>[V, D], overwritten by the backward pass; not set: not wanted.</summary>
    public Span2D<float> DStudentClassifier { get; set; }
}
