namespace FusedKernels.Interop;

/// <summary>The family of an element type (DLPack's <c>DLDataTypeCode</c>).</summary>
public enum DLDataTypeCode : byte
{
    /// <summary>A signed integer.</summary>
    Int = 0,

    /// <summary>An unsigned integer.</summary>
    UInt = 1,

    /// <summary>An IEEE 754 number.</summary>
    Float = 2,

    /// <summary>A bfloat16 number.</summary>
    BFloat = 4,

    /// <summary>A byte that is 0 or 1.</summary>
    Bool = 6,
}
