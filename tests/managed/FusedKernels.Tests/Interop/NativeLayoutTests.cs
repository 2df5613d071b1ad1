using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using FusedKernels.Interop;

namespace FusedKernels.Tests.Interop;

/// <summary>The C# structs have the layout, and the options the defaults, that the native library was compiled with.</summary>
[TestClass]
public sealed unsafe class NativeLayoutTests
{
    [TestMethod]
    [DataRow(typeof(DLDevice), "DLDevice", "device_type device_id")]
    [DataRow(typeof(DLDataType), "DLDataType", "code bits lanes")]
    [DataRow(typeof(DLTensor), "DLTensor", "data device ndim dtype shape strides byte_offset")]
    [DataRow(typeof(NativeContextOptions), "fk_context_options",
        "struct_size device_type device_id threads workspace_limit share_threads_with stream")]
    [DataRow(typeof(NativeGemmOptions), "fk_gemm_options", "struct_size transpose_a transpose_b alpha beta")]
    [DataRow(typeof(NativeCutCrossEntropyOptions), "fk_cut_cross_entropy_options",
        "struct_size reduction has_ignore_index schedule ignore_index")]
    [DataRow(typeof(NativeAttentionOptions), "fk_attention_options", "struct_size causal scale")]
    [DataRow(typeof(NativeRmsNormOptions), "fk_rms_norm_options", "struct_size epsilon")]
    [DataRow(typeof(NativeRotaryEmbeddingOptions), "fk_rotary_embedding_options",
        "struct_size interleaved inverse rotary_dims position_offset base")]
    [DataRow(typeof(NativeAdamWOptions), "fk_adamw_options",
        "struct_size learning_rate beta1 beta2 epsilon weight_decay gradient_scale step")]
    public void FieldsLieWhereTheHeaderHasThem(Type type, string nativeType, string nativeFields)
    {
        FieldInfo[] fields = type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic);
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

    // Field by field: padding has no value, and NaN (unset) equals itself here.
    private static void AssertSame<T>(T expected, T actual) where T : unmanaged
    {
        foreach (FieldInfo field in typeof(T).GetFields())
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
        // Marshal tells offsets of the marshalled struct, which is the struct itself when both sizes agree on a blittable type.
        Assert.AreEqual(size, Marshal.SizeOf(type));
        return size;
    }

    private static long OffsetOf(Type type, FieldInfo field) => Marshal.OffsetOf(type, field.Name);
}
