namespace FusedKernels;

/// <summary>What a native call answered; the <c>fk_status</c> of the C ABI.</summary>
public enum FusedKernelsStatus
{
    /// <summary>Done.</summary>
    Ok = 0,

    /// <summary>A shape, stride, element type, option or null pointer; nothing was written.</summary>
    InvalidArgument = 1,

    /// <summary>Valid, but not on this device, in this build or on this CPU.</summary>
    Unsupported = 2,

    /// <summary>A target or token id outside its table.</summary>
    IndexOutOfRange = 3,

    /// <summary>The workspace could not be allocated.</summary>
    OutOfMemory = 4,

    /// <summary>The call needs more than the context's workspace limit.</summary>
    WorkspaceLimit = 5,

    /// <summary>The call was cancelled; outputs are unspecified.</summary>
    Cancelled = 6,

    /// <summary>The context is in use by another thread.</summary>
    Busy = 7,

    /// <summary>No CUDA in this build or on this machine.</summary>
    NoCuda = 8,

    /// <summary>A defect in the library: please report the text.</summary>
    Internal = 9,
}
