using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>
/// The arrays of <see cref="Attention"/> as raw tensors, for an object initialiser (the C header's
/// <c>fk_attention_tensors</c>, field for field); null is absent. <see cref="AttentionTensors"/> says what each is for.
/// f32 unless something else is said.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct AttentionTensorPointers
{
    internal uint StructSize;
    internal uint Reserved;

    /// <summary>[B, Sq, H, D], f32, bf16 or f16.</summary>
    public DLTensor* Q;

    /// <summary>[B, Sk, G, D], f32, bf16 or f16.</summary>
    public DLTensor* K;

    /// <summary>[B, Sk, G, Dv], f32, bf16 or f16.</summary>
    public DLTensor* V;

    /// <summary>[N], int32.</summary>
    public DLTensor* QueryLengths;

    /// <summary>[N], int32.</summary>
    public DLTensor* KeyLengths;

    /// <summary>[N], int32.</summary>
    public DLTensor* PrefixLengths;

    /// <summary>[N + 1], int32.</summary>
    public DLTensor* QueryStarts;

    /// <summary>[N + 1], int32.</summary>
    public DLTensor* KeyStarts;

    /// <summary>[B, Sq], int32.</summary>
    public DLTensor* QuerySegments;

    /// <summary>[B, Sk], int32.</summary>
    public DLTensor* KeySegments;

    /// <summary>[B|1, H|1, Sq|1, Sk], uint8 or bool.</summary>
    public DLTensor* Mask;

    /// <summary>[B|1, H|1, blocks of queries, blocks of keys], uint8 or bool.</summary>
    public DLTensor* BlockMask;

    /// <summary>[B|1, H|1, Sq|1, Sk].</summary>
    public DLTensor* Bias;

    /// <summary>[B|1, H|1, Sk].</summary>
    public DLTensor* KeyBias;

    /// <summary>[B|1, H].</summary>
    public DLTensor* AlibiSlopes;

    /// <summary>[R, H].</summary>
    public DLTensor* RelativeBias;

    /// <summary>[B|1, H|1, Sq, W].</summary>
    public DLTensor* AxialBiasX;

    /// <summary>[B|1, H|1, Sq, Sk / W].</summary>
    public DLTensor* AxialBiasY;

    /// <summary>[H].</summary>
    public DLTensor* Sinks;

    /// <summary>[H|1, Sq + Sk - 1].</summary>
    public DLTensor* ToeplitzFactor;

    /// <summary>[B, Sq, H, Dv], f32, bf16 or f16; written, or read by the backward pass.</summary>
    public DLTensor* Output;

    /// <summary>[B, H, Sq], written, or read by the backward pass.</summary>
    public DLTensor* LogSumExp;

    /// <summary>[B, H, Sq], written.</summary>
    public DLTensor* MaxScore;

    /// <summary>[B, H, Sq], written.</summary>
    public DLTensor* Entropy;

    /// <summary>[B, H, Sk], written.</summary>
    public DLTensor* KeyWeights;

    /// <summary>[B, Sq, H, Dv], f32, bf16 or f16.</summary>
    public DLTensor* DOutput;

    /// <summary>[B, H, Sq].</summary>
    public DLTensor* DLogSumExp;

    /// <summary>Shaped like <see cref="Q"/>, f32, bf16 or f16; written.</summary>
    public DLTensor* DQ;

    /// <summary>Shaped like <see cref="K"/>, f32, bf16 or f16; written.</summary>
    public DLTensor* DK;

    /// <summary>Shaped like <see cref="V"/>, f32, bf16 or f16; written.</summary>
    public DLTensor* DV;

    /// <summary>Shaped like <see cref="Bias"/>, written.</summary>
    public DLTensor* DBias;

    /// <summary>Shaped like <see cref="KeyBias"/>, written.</summary>
    public DLTensor* DKeyBias;

    /// <summary>Shaped like <see cref="AlibiSlopes"/>, written.</summary>
    public DLTensor* DAlibiSlopes;

    /// <summary>Shaped like <see cref="RelativeBias"/>, written.</summary>
    public DLTensor* DRelativeBias;

    /// <summary>Shaped like <see cref="AxialBiasX"/>, written.</summary>
    public DLTensor* DAxialBiasX;

    /// <summary>Shaped like <see cref="AxialBiasY"/>, written.</summary>
    public DLTensor* DAxialBiasY;

    /// <summary>Shaped like <see cref="Sinks"/>, written.</summary>
    public DLTensor* DSinks;

    /// <summary>Shaped like <see cref="ToeplitzFactor"/>, written.</summary>
    public DLTensor* DToeplitzFactor;
}
