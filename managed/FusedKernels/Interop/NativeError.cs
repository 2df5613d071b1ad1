using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>Turns a status into the exception that a .NET caller expects, with the native message.</summary>
internal static unsafe class NativeError
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ThrowIfFailed(FusedKernelsStatus status, CancellationToken cancellationToken = default)
    {
        if (status != FusedKernelsStatus.Ok) Throw(status, cancellationToken);
    }

    /// <summary>The calling thread's last native message; read it before the next native call.</summary>
    public static string LastMessage() => Text(NativeMethods.fk_last_error());

    public static string Text(byte* utf8) => Marshal.PtrToStringUTF8((nint)utf8) ?? "";

    [DoesNotReturn, StackTraceHidden, MethodImpl(MethodImplOptions.NoInlining)]
    private static void Throw(FusedKernelsStatus status, CancellationToken cancellationToken)
    {
        string message = LastMessage();
        throw status switch
        {
            FusedKernelsStatus.InvalidArgument => new ArgumentException(message),
            FusedKernelsStatus.IndexOutOfRange => new ArgumentOutOfRangeException(null, message),
            FusedKernelsStatus.Cancelled => new OperationCanceledException(message, cancellationToken),
            FusedKernelsStatus.Busy => new InvalidOperationException(message),
            FusedKernelsStatus.Unsupported or FusedKernelsStatus.NoCuda => new NotSupportedException(message),
            _ => new FusedKernelsException(status, message),
        };
    }
}
