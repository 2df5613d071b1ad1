using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>
/// Loads the native library at its first use and compares its ABI with ours, so that a missing or foreign file is one clear
/// exception (a static constructor would wrap it in a TypeInitializationException).
/// </summary>
internal static class NativeLibraryCheck
{
    private static volatile bool _done;

    /// <summary>Every path into the library that needs no context passes here.</summary>
    /// <exception cref="FusedKernelsLoadException">The library is missing, broken or of another version.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Ensure()
    {
        if (!_done) Load();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Load()
    {
        uint version;
        try
        {
            version = NativeMethods.fk_abi_version();
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException or EntryPointNotFoundException)
        {
            throw new FusedKernelsLoadException(Describe(e), e);
        }
        if (version != NativeMethods.AbiVersion)
            throw new FusedKernelsLoadException(
                $"The native library {FileName} has ABI version {version}, but FusedKernels.dll needs version " +
                $"{NativeMethods.AbiVersion}. Take both from the same version of the package FusedKernels. " + Searched());
        _done = true;
    }

    private static string FileName =>
        OperatingSystem.IsWindows() ? NativeMethods.Library + ".dll"
        : OperatingSystem.IsMacOS() ? $"lib{NativeMethods.Library}.dylib"
        : $"lib{NativeMethods.Library}.so";

    private static string Describe(Exception e)
    {
        string problem = e switch
        {
            EntryPointNotFoundException => "was found, but is not the FusedKernels library",
            BadImageFormatException => "was found, but is built for another processor or system",
            _ => "could not be loaded",
        };
        return $"The native library {FileName} {problem}. {Searched()} It comes with the package FusedKernels, under " +
            $"runtimes/{RuntimeInformation.RuntimeIdentifier}/native: add a reference to that package, or, where it has no " +
            $"such folder, build the library with CMake and put it beside FusedKernels.dll. Loader: {e.Message.Trim()}";
    }

    private static string Searched()
    {
        string folders = AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "";
        string[] searched = [.. folders.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Append(AppContext.BaseDirectory).Distinct()];
        return $"Runtime identifier: {RuntimeInformation.RuntimeIdentifier}. Searched: {string.Join(", ", searched)}.";
    }
}
