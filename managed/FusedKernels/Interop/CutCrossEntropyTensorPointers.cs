using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>
/// The arrays of <see cref="CutCrossEntropy"/> as raw tensors, for an object initialiser (the C header's
/// <c>fk_cut_cross_entropy_tensors</c>, field for field). All but the first two may be null: absent.
/// <see cref="CutCrossEntropyTensors"/> says what each is for; [...] is the shape of <see cref="Targets"/>, whose last axis
/// is the one that a shift moves along.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct CutCrossEntropyTensorPointers
{
    internal uint StructSize;
    internal uint Reserved;

    /// <summary>[..., D], f32, bf16 or f16.</summary>
    public DLTensor* Embeddings;

    /// <summary>[V, D], f32, bf16 or f16.</summary>
    public DLTensor* Classifier;

    /// <summary>[...], int32 or int64.</summary>
    public DLTensor* Targets;

    /// <summary>[..., V], instead of <see cref="Targets"/>.</summary>
    public DLTensor* TargetProbabilities;

    /// <summary>[V].</summary>
    public DLTensor* Bias;

    /// <summary>[V].</summary>
    public DLTensor* ClassWeights;

    /// <summary>[...].</summary>
    public DLTensor* RowWeights;

    /// <summary>[...], written, or read by the backward pass.</summary>
    public DLTensor* LogSumExp;

    /// <summary>[...], written, or read by the backward pass.</summary>
    public DLTensor* TargetLogProbability;

    /// <summary>[...], written, or read by the backward pass.</summary>
    public DLTensor* Entropy;

    /// <summary>One element for mean and sum, [...] for none; written.</summary>
    public DLTensor* Loss;

    /// <summary>[..., K], int32 or int64; written.</summary>
    public DLTensor* TopTokens;

    /// <summary>[..., K], written.</summary>
    public DLTensor* TopLogProbabilities;

    /// <summary>One element, written.</summary>
    public DLTensor* Accuracy;

    /// <summary>Shaped like <see cref="Loss"/>.</summary>
    public DLTensor* GradLoss;

    /// <summary>[...].</summary>
    public DLTensor* GradLogSumExp;

    /// <summary>[...].</summary>
    public DLTensor* GradEntropy;

    /// <summary>[..., D], written.</summary>
    public DLTensor* DEmbeddings;

    /// <summary>[V, D], written.</summary>
    public DLTensor* DClassifier;

    /// <summary>[V], written.</summary>
    public DLTensor* DBias;

    /// <summary>One element, written.</summary>
    public DLTensor* DLogitScale;

    /// <summary>Where to write the report; what it held does not matter.</summary>
    public FilterReport* FilterReport;

    /// <summary>[...], written.</summary>
    public DLTensor* DroppedProbability;
}
