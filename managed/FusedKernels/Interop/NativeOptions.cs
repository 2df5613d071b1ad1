// The option structs of fusedkernels.h, field for field; a test compares every offset with fk_struct_layout().
using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

[StructLayout(LayoutKind.Sequential)]
internal struct NativeContextOptions
{
    public uint StructSize;
    public DLDeviceType DeviceType;
    public int DeviceId;
    public int Threads;
    public ulong WorkspaceLimit;
    public nint ShareThreadsWith;
    public nint Stream;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeGemmOptions
{
    public uint StructSize;
    public int TransposeA;
    public int TransposeB;
    public float Alpha;
    public float Beta;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeCutCrossEntropyOptions
{
    public uint StructSize;
    public LossReduction Reduction;
    public int HasIgnoreIndex;
    public LossSchedule Schedule;
    public long IgnoreIndex;
    public long Shift;
    public float LogitScale;
    public float Softcap;
    public float LabelSmoothing;
    public float ZLoss;
    public LossShapeKind LossShape;
    public float LossShapeParameter;
    public float FilterDEmbeddings;
    public float FilterDClassifier;
    public int OrderVocabulary;
    public int Reserved;
    public long VocabularyOffset;
    public long VocabularySize;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeSoftmaxCrossEntropyOptions
{
    public uint StructSize;
    public LossReduction Reduction;
    public int HasIgnoreIndex;
    public int Reserved;
    public long IgnoreIndex;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeDistillationOptions
{
    public uint StructSize;
    public LossReduction Reduction;
    public float Temperature;
    public int Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeAttentionOptions
{
    /// <summary>The value of a window that has no end.</summary>
    public const long NoWindow = -1;

    public uint StructSize;
    public int Causal;
    public float Scale;
    public float Softcap;
    public AttentionAlignment Alignment;
    public float LengthScaleBase;
    public long WindowLeft;
    public long WindowRight;
    public long MaskBlockRows;
    public long MaskBlockColumns;
    public int RelativeBidirectional;
    public float Dropout;
    public long RelativeMaxDistance;
    public ulong DropoutSeed;
    public int RotaryDims;
    public int RotaryInterleaved;
    public float RotaryBase;
    public int Reserved;
    public long RotaryQueryOffset;
    public long RotaryKeyOffset;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeRmsNormOptions
{
    public uint StructSize;
    public float Epsilon;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeRotaryEmbeddingOptions
{
    public uint StructSize;
    public int Interleaved;
    public int Inverse;
    public int RotaryDims;
    public long PositionOffset;
    public float Base;
}

[StructLayout(LayoutKind.Sequential)]
internal struct NativeAdamWOptions
{
    public uint StructSize;
    public float LearningRate;
    public float Beta1;
    public float Beta2;
    public float Epsilon;
    public float WeightDecay;
    public float GradientScale;
    public long Step;
}
