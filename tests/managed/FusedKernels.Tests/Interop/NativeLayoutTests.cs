using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using FusedKernels.Interop;

namespace FusedKernels.Tests.Interop;

/// <summary>The C# structs have the layout, and the options the defaults, that the native library was compiled
/// with.</summary>
[TestClass]
public sealed unsafe class NativeLayoutTests
{
    private const BindingFlags Fields = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;

    [TestMethod]
    [DataRow(typeof(DLDevice), "DLDevice", "device_type device_id")]
    [DataRow(typeof(DLDataType), "DLDataType", "code bits lanes")]
    [DataRow(typeof(DLTensor), "DLTensor", "data device ndim dtype shape strides byte_offset")]
    [DataRow(typeof(NativeContextOptions), "fk_context_options",
        "struct_size device_type device_id threads workspace_limit share_threads_with stream")]
    [DataRow(typeof(NativeGemmOptions), "fk_gemm_options", "struct_size transpose_a transpose_b alpha beta")]
    [DataRow(typeof(NativeCutCrossEntropyOptions), "fk_cut_cross_entropy_options",
        "struct_size reduction has_ignore_index schedule ignore_index shift logit_scale softcap label_smoothing z_loss " +
        "loss_shape loss_shape_parameter filter_d_embeddings filter_d_classifier order_vocabulary reserved " +
        "vocabulary_offset vocabulary_size")]
    [DataRow(typeof(FilterReport), "fk_filter_report",
        "struct_size reserved d_embeddings_tiles d_embeddings_tiles_skipped d_classifier_tiles d_classifier_tiles_skipped " +
        "d_embeddings_error d_classifier_error max_dropped_probability")]
    [DataRow(typeof(CutCrossEntropyTensorPointers), "fk_cut_cross_entropy_tensors",
        "struct_size reserved embeddings classifier targets target_probabilities bias class_weights row_weights " +
        "log_sum_exp target_log_probability entropy loss top_tokens top_log_probabilities accuracy grad_loss " +
        "grad_log_sum_exp grad_entropy d_embeddings d_classifier d_bias d_logit_scale filter_report dropped_probability")]
    [DataRow(typeof(NativeSoftmaxCrossEntropyOptions), "fk_softmax_cross_entropy_options",
        "struct_size reduction has_ignore_index reserved ignore_index")]
    [DataRow(typeof(NativeDistillationOptions), "fk_distillation_options", "struct_size reduction temperature reserved")]
    [DataRow(typeof(DistillationTensorPointers), "fk_distillation_tensors",
        "struct_size reserved student_embeddings student_classifier teacher_embeddings teacher_classifier row_weights loss " +
        "student_log_sum_exp teacher_log_sum_exp grad_loss d_student_embeddings d_student_classifier")]
    [DataRow(typeof(NativeAttentionOptions), "fk_attention_options",
        "struct_size causal scale softcap alignment length_scale_base window_left window_right mask_block_rows " +
        "mask_block_columns relative_bidirectional dropout relative_max_distance dropout_seed rotary_dims " +
        "rotary_interleaved rotary_base reserved rotary_query_offset rotary_key_offset")]
    [DataRow(typeof(AttentionTensorPointers), "fk_attention_tensors",
        "struct_size reserved q k v query_lengths key_lengths prefix_lengths query_starts key_starts query_segments " +
        "key_segments mask block_mask bias key_bias alibi_slopes relative_bias axial_bias_x axial_bias_y sinks " +
        "toeplitz_factor output log_sum_exp max_score entropy key_weights d_output d_log_sum_exp d_q d_k d_v d_bias " +
        "d_key_bias d_alibi_slopes d_relative_bias d_axial_bias_x d_axial_bias_y d_sinks d_toeplitz_factor")]
    [DataRow(typeof(KvCachePointers), "fk_kv_cache",
        "struct_size reserved k_f32 v_f32 k_bf16 v_bf16 k_int8 v_int8 k_int8_scales v_int8_scales page_table lengths")]
    [DataRow(typeof(KvCacheTensorPointers), "fk_kv_cache_tensors",
        "struct_size reserved q new_k new_v alibi_slopes sinks output log_sum_exp")]
    [DataRow(typeof(NativeRmsNormOptions), "fk_rms_norm_options", "struct_size epsilon")]
    [DataRow(typeof(NativeRotaryEmbeddingOptions), "fk_rotary_embedding_options",
        "struct_size interleaved inverse rotary_dims position_offset base")]
    [DataRow(typeof(NativeAdamWOptions), "fk_adamw_options",
        "struct_size learning_rate beta1 beta2 epsilon weight_decay gradient_scale step")]
    public void FieldsLieWhereTheHeaderHasThem(Type type, string nativeType, string nativeFields)
    {
        FieldInfo[] fields = type.GetFields(Fields);
        string[] names = nativeFields.Split(' ');
        Assert.HasCount(names.Length, fields);
        Assert.AreEqual(Layout(nativeType, null), SizeOf(type), $"size of {nativeType}");
        foreach ((FieldInfo field, string name) in fields.Zip(names))
            Assert.AreEqual(Layout(nativeType, name), OffsetOf(type, field), $"{nativeType}.{name} against {field.Name}");
    }

    [TestMethod]
    public void EveryStructOfTheHeaderIsCompared()
    {
        IEnumerable<string> compared = typeof(NativeLayoutTests).GetMethod(nameof(FieldsLieWhereTheHeaderHasThem))!
            .GetCustomAttributes<DataRowAttribute>().Select(row => $"{row.Data[1]}: {row.Data[2]}");
        IEnumerable<string> declared = Header.Structs().Select(type => $"{type.Name}: {string.Join(' ', type.Fields)}");
        CollectionAssert.AreEquivalent(declared.ToArray(), compared.ToArray());
    }

    [TestMethod]
    public void DefaultsAreTheNativeOnes()
    {
        NativeGemmOptions gemm;
        NativeMethods.fk_gemm_options_init(&gemm);
        AssertSame(gemm, default(GemmOptions).ToNative());
        NativeCutCrossEntropyOptions loss;
        NativeMethods.fk_cut_cross_entropy_options_init(&loss);
        AssertSame(loss, default(CutCrossEntropyOptions).ToNative());
        NativeSoftmaxCrossEntropyOptions softmax;
        NativeMethods.fk_softmax_cross_entropy_options_init(&softmax);
        AssertSame(softmax, default(SoftmaxCrossEntropyOptions).ToNative());
        NativeDistillationOptions distillation;
        NativeMethods.fk_distillation_options_init(&distillation);
        AssertSame(distillation, default(DistillationOptions).ToNative());
        NativeAttentionOptions attention;
        NativeMethods.fk_attention_options_init(&attention);
        AssertSame(attention, default(AttentionOptions).ToNative());
        NativeRmsNormOptions rmsNorm;
        NativeMethods.fk_rms_norm_options_init(&rmsNorm);
        AssertSame(rmsNorm, default(RmsNormOptions).ToNative());
        NativeRotaryEmbeddingOptions rotary;
        NativeMethods.fk_rotary_embedding_options_init(&rotary);
        AssertSame(rotary, default(RotaryEmbeddingOptions).ToNative());
        NativeAdamWOptions adamW;
        NativeMethods.fk_adamw_options_init(&adamW);
        AssertSame(adamW, new AdamWOptions { Step = 1 }.ToNative());
        NativeContextOptions context;
        NativeMethods.fk_context_options_init(&context);
        AssertSame(context, new NativeContextOptions
        {
            StructSize = (uint)sizeof(NativeContextOptions), DeviceType = DLDeviceType.Cpu,
        });
    }

    [TestMethod]
    public void InitialisedStructsAreThoseThatCallsPass()
    {
        FilterReport report;
        NativeMethods.fk_filter_report_init(&report);
        AssertSame(report, new FilterReport { StructSize = (uint)sizeof(FilterReport) });
        CutCrossEntropyTensorPointers loss;
        NativeMethods.fk_cut_cross_entropy_tensors_init(&loss);
        AssertOnlySizeIsSet(loss, loss.StructSize);
        DistillationTensorPointers distillation;
        NativeMethods.fk_distillation_tensors_init(&distillation);
        AssertOnlySizeIsSet(distillation, distillation.StructSize);
        AttentionTensorPointers attention;
        NativeMethods.fk_attention_tensors_init(&attention);
        AssertOnlySizeIsSet(attention, attention.StructSize);
        KvCachePointers cache;
        NativeMethods.fk_kv_cache_init(&cache);
        AssertOnlySizeIsSet(cache, cache.StructSize);
        KvCacheTensorPointers cacheTensors;
        NativeMethods.fk_kv_cache_tensors_init(&cacheTensors);
        AssertOnlySizeIsSet(cacheTensors, cacheTensors.StructSize);
    }

    private static void AssertOnlySizeIsSet<T>(T tensors, uint structSize) where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in tensors));
        Assert.AreEqual(bytes.Length, (int)structSize, typeof(T).Name);
        Assert.IsFalse(bytes[sizeof(uint)..].ContainsAnyExcept((byte)0), $"{typeof(T).Name} is not all null");
    }

    // Field by field: padding has no value, and NaN (unset) equals itself here.
    private static void AssertSame<T>(T expected, T actual) where T : unmanaged
    {
        foreach (FieldInfo field in typeof(T).GetFields(Fields))
            Assert.AreEqual(field.GetValue(expected), field.GetValue(actual), $"{typeof(T).Name}.{field.Name}");
    }

    private static long Layout(string type, string? field)
    {
        fixed (byte* typeName = Encoding.UTF8.GetBytes(type + '\0'))
        fixed (byte* fieldName = field is null ? null : Encoding.UTF8.GetBytes(field + '\0'))
            return NativeMethods.fk_struct_layout(typeName, fieldName);
    }

    private static long SizeOf(Type type)
    {
        int size = RuntimeHelpers.SizeOf(type.TypeHandle);
        // Marshal tells offsets of the marshalled struct, which is the struct itself when both sizes agree on a blittable
        // type.
        Assert.AreEqual(size, Marshal.SizeOf(type));
        return size;
    }

    private static long OffsetOf(Type type, FieldInfo field) => Marshal.OffsetOf(type, field.Name);
}
