using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>
/// The arrays of <see cref="Distillation"/> as raw tensors, for an object initialiser (the C header's
/// <c>fk_distillation_tensors</c>, field for field). <see cref="DistillationTensors"/> says what each is for.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct DistillationTensorPointers
{
    internal uint StructSize;
    internal uint Reserved;

    /// <summary>[..., D], f32, bf16 or f16.</summary>
    public DLTensor* StudentEmbeddings;

    /// <summary>[V, D], f32, bf16 or f16.</summary>
    public DLTensor* StudentClassifier;

    /// <summary>[..., T], f32, bf16 or f16.</summary>
    public DLTensor* TeacherEmbeddings;

    /// <summary>[V, T], f32, bf16 or f16.</summary>
    public DLTensor* TeacherClassifier;

    /// <summary>[...], or null.</summary>
    public DLTensor* RowWeights;

    /// <summary>One element for mean and sum, [...] for none; written by the forward pass.</summary>
    public DLTensor* Loss;

    /// <summary>[...], written by the forward pass unless null, read by the backward pass.</summary>
    public DLTensor* StudentLogSumExp;

    /// <summary>[...], written by the forward pass unless null, read by the backward pass.</summary>
    public DLTensor* TeacherLogSumExp;

    /// <summary>Shaped like <see cref="Loss"/>, or null.</summary>
    public DLTensor* GradLoss;

    /// <summary>[..., D], written by the backward pass, or null.</summary>
    public DLTensor* DStudentEmbeddings;

    /// <summary>[V, D], written by the backward pass, or null.</summary>
    public DLTensor* DStudentClassifier;
}
