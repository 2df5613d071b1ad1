namespace FusedKernels;

/// <summary>
/// A native call failed for a reason that no exception of .NET stands for: no memory, the workspace limit, or a defect of
/// the library. The message is the native one.
/// </summary>
public sealed class FusedKernelsException : Exception
{
    internal FusedKernelsException(FusedKernelsStatus status, string message) : base(message) => Status = status;

    /// <summary>What the native call answered.</summary>
    public FusedKernelsStatus Status { get; }
}
