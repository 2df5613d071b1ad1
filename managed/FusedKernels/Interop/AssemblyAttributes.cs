using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

// Only the application's own folders: a stranger's library of the same name on the PATH is never loaded.
[assembly: DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]

// stackalloc'ed shapes are written before they are read; clearing them first would cost more than the checks of a small call.
[module: SkipLocalsInit]
