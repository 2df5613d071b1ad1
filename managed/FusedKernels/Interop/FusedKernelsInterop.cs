namespace FusedKernels.Interop;

/// <summary>
/// The operators on raw memory, described by DLPack's <see cref="DLTensor"/>: for memory that no span covers, such as
/// another library's tensors or a device's memory.
/// </summary>
/// <remarks>
/// Shapes, errors and options are those of the operator that each method names. Pointers must stay valid until the method
/// returns; <c>byte_offset</c>, strides and null pointers mean what <c>fusedkernels.h</c> says. Only a valid description of
/// live memory is safe here: the library checks shapes, strides and element types, but cannot check addresses.
/// </remarks>
public static unsafe partial class FusedKernelsInterop
{
    /// <summary><see cref="FusedKernels.Gemm.Multiply"/> on raw tensors. Any matrix but c may also have stride 1 along its
    /// first axis.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="a">[M, K], or [K, M] when transposed.</param>
    /// <param name="b">[K, N], or [N, K] when transposed.</param>
    /// <param name="c">[M, N], written.</param>
    /// <param name="options">Transposes, alpha, beta.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void Gemm(
        FusedContext context, DLTensor* a, DLTensor* b, DLTensor* c, GemmOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeGemmOptions native = options.ToNative();
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_gemm(call.Context, &native, a, b, c));
    }

    /// <summary>Bytes of workspace that the same <see cref="Gemm"/> would take under the context's limit.</summary>
    /// <param name="context">Where it would run.</param>
    /// <param name="a">[M, K], or [K, M] when transposed.</param>
    /// <param name="b">[K, N], or [N, K] when transposed.</param>
    /// <param name="c">[M, N].</param>
    /// <param name="options">Transposes, alpha, beta.</param>
    /// <returns>Bytes.</returns>
    public static long GemmWorkspaceSize(
        FusedContext context, DLTensor* a, DLTensor* b, DLTensor* c, GemmOptions options = default)
    {
        NativeGemmOptions native = options.ToNative();
        ulong bytes;
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_gemm_workspace_size(call.Context, &native, a, b, c, &bytes));
        return (long)bytes;
    }

    /// <summary><see cref="RmsNorm.Forward"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="x">[..., D], f32.</param>
    /// <param name="weight">[D].</param>
    /// <param name="y">[..., D], written; may be x.</param>
    /// <param name="inverseRms">[...], written; or null.</param>
    /// <param name="options">Epsilon.</param>
    public static void RmsNormForward(
        FusedContext context, DLTensor* x, DLTensor* weight, DLTensor* y, DLTensor* inverseRms = null,
        RmsNormOptions options = default)
    {
        NativeRmsNormOptions native = options.ToNative();
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_rms_norm_forward(call.Context, &native, x, weight, y, inverseRms));
    }

    /// <summary><see cref="RmsNorm.Backward"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="x">[..., D], f32.</param>
    /// <param name="weight">[D].</param>
    /// <param name="inverseRms">[...], what the forward pass wrote.</param>
    /// <param name="dY">[..., D].</param>
    /// <param name="dX">[..., D], written; may be dY; or null.</param>
    /// <param name="dWeight">[D], written; or null.</param>
    /// <param name="options">Epsilon.</param>
    public static void RmsNormBackward(
        FusedContext context, DLTensor* x, DLTensor* weight, DLTensor* inverseRms, DLTensor* dY, DLTensor* dX,
        DLTensor* dWeight, RmsNormOptions options = default)
    {
        NativeRmsNormOptions native = options.ToNative();
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_rms_norm_backward(
            call.Context, &native, x, weight, inverseRms, dY, dX, dWeight));
    }

    /// <summary><see cref="SwiGlu.Forward"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="gate">[..., D], f32.</param>
    /// <param name="up">[..., D].</param>
    /// <param name="output">[..., D], written; may be gate or up.</param>
    public static void SwiGluForward(FusedContext context, DLTensor* gate, DLTensor* up, DLTensor* output)
    {
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_swiglu_forward(call.Context, gate, up, output));
    }

    /// <summary><see cref="SwiGlu.Backward"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="gate">[..., D], f32.</param>
    /// <param name="up">[..., D].</param>
    /// <param name="dOutput">[..., D].</param>
    /// <param name="dGate">[..., D], written; may be gate or dOutput.</param>
    /// <param name="dUp">[..., D], written; may be up or dOutput.</param>
    public static void SwiGluBackward(
        FusedContext context, DLTensor* gate, DLTensor* up, DLTensor* dOutput, DLTensor* dGate, DLTensor* dUp)
    {
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_swiglu_backward(call.Context, gate, up, dOutput, dGate, dUp));
    }

    /// <summary><see cref="FusedKernels.RotaryEmbedding.Apply"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="x">[B, S, H, D], f32.</param>
    /// <param name="positions">[S], int32 or int64; or null.</param>
    /// <param name="y">[B, S, H, D], written; may be x.</param>
    /// <param name="options">Arrangement of pairs, direction, dimensions, offset and base.</param>
    public static void RotaryEmbedding(
        FusedContext context, DLTensor* x, DLTensor* positions, DLTensor* y, RotaryEmbeddingOptions options = default)
    {
        NativeRotaryEmbeddingOptions native = options.ToNative();
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_rotary_embedding(call.Context, &native, x, positions, y));
    }

    /// <summary><see cref="TokenEmbedding"/>'s gather on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="table">[V, D], f32.</param>
    /// <param name="ids">[...], int32 or int64.</param>
    /// <param name="output">[..., D], written.</param>
    public static void EmbeddingGather(FusedContext context, DLTensor* table, DLTensor* ids, DLTensor* output)
    {
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_embedding_gather(call.Context, table, ids, output));
    }

    /// <summary><see cref="TokenEmbedding"/>'s scatter-add on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="dOutput">[..., D], f32.</param>
    /// <param name="ids">[...], int32 or int64.</param>
    /// <param name="dTable">[V, D], added to.</param>
    public static void EmbeddingScatterAdd(FusedContext context, DLTensor* dOutput, DLTensor* ids, DLTensor* dTable)
    {
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_embedding_scatter_add(call.Context, dOutput, ids, dTable));
    }

    /// <summary><see cref="AdamW.Step"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="parameter">f32, any shape, contiguous; updated.</param>
    /// <param name="gradient">Shaped like parameter.</param>
    /// <param name="firstMoment">Shaped like parameter; updated.</param>
    /// <param name="secondMoment">Shaped like parameter; updated.</param>
    /// <param name="options">The step's number, learning rate, decays.</param>
    public static void AdamWStep(
        FusedContext context, DLTensor* parameter, DLTensor* gradient, DLTensor* firstMoment, DLTensor* secondMoment,
        AdamWOptions options)
    {
        NativeAdamWOptions native = options.ToNative();
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_adamw_step(
            call.Context, &native, parameter, gradient, firstMoment, secondMoment));
    }
}
