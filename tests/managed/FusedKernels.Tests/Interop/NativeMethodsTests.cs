using System.Reflection;
using FusedKernels.Interop;

namespace FusedKernels.Tests.Interop;

/// <summary>The declarations in C# are the header's: neither side has a function, a parameter or a constant of its
/// own.</summary>
[TestClass]
public sealed unsafe class NativeMethodsTests
{
    private static readonly Dictionary<string, string> CSharpTypes = new()
    {
        ["void"] = "Void",
        ["char*"] = "Byte*",
        ["uint32_t"] = "UInt32",
        ["int64_t"] = "Int64",
        ["int32_t*"] = "Int32*",
        ["uint64_t*"] = "UInt64*",
        ["fk_status"] = nameof(FusedKernelsStatus),
        ["fk_context*"] = "IntPtr",
        ["fk_context**"] = "IntPtr*",
        ["DLTensor*"] = nameof(DLTensor) + "*",
        ["fk_context_options*"] = nameof(NativeContextOptions) + "*",
        ["fk_gemm_options*"] = nameof(NativeGemmOptions) + "*",
        ["fk_cut_cross_entropy_options*"] = nameof(NativeCutCrossEntropyOptions) + "*",
        ["fk_cut_cross_entropy_tensors*"] = nameof(CutCrossEntropyTensorPointers) + "*",
        ["fk_filter_report*"] = nameof(FilterReport) + "*",
        ["fk_softmax_cross_entropy_options*"] = nameof(NativeSoftmaxCrossEntropyOptions) + "*",
        ["fk_distillation_options*"] = nameof(NativeDistillationOptions) + "*",
        ["fk_distillation_tensors*"] = nameof(DistillationTensorPointers) + "*",
        ["fk_attention_options*"] = nameof(NativeAttentionOptions) + "*",
        ["fk_attention_tensors*"] = nameof(AttentionTensorPointers) + "*",
        ["fk_kv_cache*"] = nameof(KvCachePointers) + "*",
        ["fk_kv_cache_tensors*"] = nameof(KvCacheTensorPointers) + "*",
        ["fk_rms_norm_options*"] = nameof(NativeRmsNormOptions) + "*",
        ["fk_rotary_embedding_options*"] = nameof(NativeRotaryEmbeddingOptions) + "*",
        ["fk_adamw_options*"] = nameof(NativeAdamWOptions) + "*",
    };

    [TestMethod]
    public void FunctionsAreTheHeaders()
    {
        string[] declared = [.. Header.Functions().Select(f =>
            $"{CSharpTypes[f.ReturnType]} {f.Name}({string.Join(", ", f.ParameterTypes.Select(type => CSharpTypes[type]))})")];
        string[] imported = [.. Imports().Select(m =>
            $"{m.ReturnType.Name} {m.Name}({string.Join(", ", m.GetParameters().Select(p => p.ParameterType.Name))})")];
        Assert.IsGreaterThan(20, declared.Length, "the header was read");
        CollectionAssert.AreEquivalent(declared, imported);
    }

    [TestMethod]
    public void EveryOperatorHasAPublicMethod()
    {
        // Each operator's native name without fk_ and underscores is a method of the raw-pointer class.
        HashSet<string> methods = [.. typeof(FusedKernelsInterop).GetMethods().Select(m => m.Name.ToLowerInvariant())];
        foreach (Header.Function function in Header.Functions())
            if (function.ParameterTypes.Contains("fk_context*") && function.ParameterTypes.Any(
                type => type == "DLTensor*" || type.EndsWith("_tensors*")))
                Assert.Contains(function.Name["fk_".Length..].Replace("_", ""), methods);
    }

    [TestMethod]
    public void ConstantsAreTheHeaders()
    {
        Assert.AreEqual(NativeMethods.AbiVersion, Header.AbiVersion());
        AssertSameMembers<FusedKernelsStatus>("fk_status", "FK_", "ERROR_");
        AssertSameMembers<LossReduction>("fk_reduction", "FK_REDUCTION_");
        AssertSameMembers<LossSchedule>("fk_schedule", "FK_SCHEDULE_");
        AssertSameMembers<LossShapeKind>("fk_loss_shape", "FK_LOSS_SHAPE_");
        Assert.AreEqual(CutCrossEntropyOptions.DefaultFilterEpsilon, Header.DefaultFilterEpsilon());
        AssertSameMembers<AttentionAlignment>("fk_alignment", "FK_ALIGNMENT_");
        AssertSameMembers<DLDeviceType>("DLDeviceType", "kDL");
        AssertSameMembers<DLDataTypeCode>("DLDataTypeCode", "kDL");
    }

    [TestMethod]
    public void StatusNamesAreTheLibrarys()
    {
        foreach ((string name, int value) in Header.Enum("fk_status"))
            Assert.AreEqual(name, NativeError.Text(NativeMethods.fk_status_name((FusedKernelsStatus)value)));
    }

    private static IEnumerable<MethodInfo> Imports() =>
        typeof(NativeMethods).GetMethods(BindingFlags.Static | BindingFlags.Public).Where(m => m.Name.StartsWith("fk_"));

    private static void AssertSameMembers<TEnum>(string nativeName, params string[] prefixes) where TEnum : struct, Enum
    {
        string Plain(string name) =>
            prefixes.Aggregate(name, (rest, prefix) => rest.StartsWith(prefix) ? rest[prefix.Length..] : rest)
                .Replace("_", "").ToLowerInvariant();
        string[] native = [.. Header.Enum(nativeName).Select(member => $"{Plain(member.Name)} = {member.Value}")];
        string[] managed = [.. Enum.GetValues<TEnum>().Select(
            member => $"{member.ToString().ToLowerInvariant()} = {Convert.ToInt32(member)}")];
        CollectionAssert.AreEquivalent(native, managed);
    }
}
