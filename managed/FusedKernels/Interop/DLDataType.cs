using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>An element type (DLPack's <c>DLDataType</c>, 4 bytes).</summary>
/// <param name="Code">The family.</param>
/// <param name="Bits">Bits per lane.</param>
/// <param name="Lanes">Lanes per element; the library takes 1.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct DLDataType(DLDataTypeCode Code, byte Bits, ushort Lanes)
{
    /// <summary>The type of a <see cref="float"/>.</summary>
    public static DLDataType Float32 => new(DLDataTypeCode.Float, 32, 1);

    /// <summary>The type of a <see cref="FusedKernels.BFloat16"/>.</summary>
    public static DLDataType BFloat16 => new(DLDataTypeCode.BFloat, 16, 1);

    /// <summary>The type of a <see cref="Half"/>.</summary>
    public static DLDataType Float16 => new(DLDataTypeCode.Float, 16, 1);

    /// <summary>The type of an <see cref="int"/>.</summary>
    public static DLDataType Int32 => new(DLDataTypeCode.Int, 32, 1);

    /// <summary>The type of a <see cref="long"/>.</summary>
    public static DLDataType Int64 => new(DLDataTypeCode.Int, 64, 1);

    /// <summary>The type of an <see cref="sbyte"/>.</summary>
    public static DLDataType Int8 => new(DLDataTypeCode.Int, 8, 1);

    /// <summary>The type of a <see cref="byte"/>.</summary>
    public static DLDataType UInt8 => new(DLDataTypeCode.UInt, 8, 1);

    /// <summary>The type of a <see cref="bool"/>.</summary>
    public static DLDataType Bool => new(DLDataTypeCode.Bool, 8, 1);

    /// <summary>The type that describes a C# element type. The comparisons are constants to the JIT.</summary>
    internal static DLDataType Of<T>() where T : unmanaged =>
        typeof(T) == typeof(float) ? Float32
        : typeof(T) == typeof(FusedKernels.BFloat16) ? BFloat16
        : typeof(T) == typeof(Half) ? Float16
        : typeof(T) == typeof(int) ? Int32
        : typeof(T) == typeof(long) ? Int64
        : typeof(T) == typeof(sbyte) ? Int8
        : typeof(T) == typeof(byte) ? UInt8
        : typeof(T) == typeof(bool) ? Bool
        : throw new NotSupportedException($"{typeof(T)} has no DLPack element type here.");
}
