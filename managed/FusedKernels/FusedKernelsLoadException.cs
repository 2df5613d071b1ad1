namespace FusedKernels;

/// <summary>
/// The native library is missing, cannot be loaded, or is of another version than this assembly. Thrown by the first use of
/// the library; the message names the file, the runtime identifier, the folders that were searched and the package to add.
/// </summary>
public sealed class FusedKernelsLoadException : DllNotFoundException
{
    internal FusedKernelsLoadException(string message, Exception? innerException = null) : base(message, innerException)
    {
    }
}
