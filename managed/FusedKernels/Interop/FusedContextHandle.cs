using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>Owns an <c>fk_context*</c>. A running call holds a reference, so disposal waits for it.</summary>
internal sealed class FusedContextHandle : SafeHandle
{
    public FusedContextHandle(nint context) : base(0, ownsHandle: true) => SetHandle(context);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle() => NativeMethods.fk_context_destroy(handle) == FusedKernelsStatus.Ok;
}
