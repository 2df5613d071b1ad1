using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Where operators run: a device, a number of threads and the scratch memory that calls share. Every operator takes one as
/// its first argument.
/// </summary>
/// <remarks>
/// A context serves one call at a time; a second thread gets an <see cref="InvalidOperationException"/>. Different contexts
/// are independent of each other. Threads start at the first call that needs them and sleep between calls. Results do not
/// depend on the number of threads. Disposing a context while a call runs in it lets that call finish first.
/// </remarks>
public sealed class FusedContext : IDisposable
{
    private readonly FusedContextHandle _handle;
    private int _inUse;

    private unsafe FusedContext(NativeContextOptions options)
    {
        NativeLibraryCheck.Ensure();
        options.StructSize = (uint)sizeof(NativeContextOptions);
        nint context;
        NativeError.ThrowIfFailed(NativeMethods.fk_context_create(&options, &context));
        _handle = new FusedContextHandle(context);
        int threads;
        NativeError.ThrowIfFailed(NativeMethods.fk_context_threads(context, &threads));
        Threads = threads;
    }

    /// <summary>
    /// The instruction set that the CPU kernels use: <c>scalar</c>, <c>sse4</c>, <c>avx2</c>, <c>avx512</c> or <c>neon</c>.
    /// It is the best that the CPU has, or the one that the environment variable <c>FUSEDKERNELS_ISA</c> names.
    /// </summary>
    /// <exception cref="NotSupportedException"><c>FUSEDKERNELS_ISA</c> names an instruction set that is unknown or that this
    /// CPU lacks.</exception>
    /// <exception cref="FusedKernelsLoadException">The native library is missing or of another version.</exception>
    public static unsafe string InstructionSet
    {
        get
        {
            NativeLibraryCheck.Ensure();
            byte* name = NativeMethods.fk_cpu_isa();
            return name is null ? throw new NotSupportedException(NativeError.LastMessage()) : NativeError.Text(name);
        }
    }

    /// <summary>One line about the native library: version, compiler, instruction sets, CUDA architectures.</summary>
    /// <exception cref="FusedKernelsLoadException">The native library is missing or of another version.</exception>
    public static unsafe string BuildInfo
    {
        get
        {
            NativeLibraryCheck.Ensure();
            return NativeError.Text(NativeMethods.fk_build_info());
        }
    }

    /// <summary>The number of CPU threads that calls in this context use, the caller's included.</summary>
    public int Threads { get; }

    /// <summary>Bytes of scratch memory that the context holds now. It is kept between calls.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="InvalidOperationException">A call runs in the context.</exception>
    public unsafe long WorkspaceBytes
    {
        get
        {
            using var call = new NativeCall(this);
            ulong bytes;
            call.ThrowIfFailed(NativeMethods.fk_context_workspace_bytes(call.Context, &bytes));
            return (long)bytes;
        }
    }

    /// <summary>Makes a context that runs on the CPU, with threads of its own.</summary>
    /// <param name="threads">Threads, the caller's included; 0: the processors that this process may use.</param>
    /// <param name="workspaceLimit">Bytes of scratch memory that a call may hold; 0: 1 GiB.</param>
    /// <returns>The context; dispose it to free its threads and its scratch memory.</returns>
    /// <exception cref="ArgumentException">A value is negative or too large, or <c>FUSEDKERNELS_ISA</c> names an unknown
    /// instruction set.</exception>
    /// <exception cref="NotSupportedException"><c>FUSEDKERNELS_ISA</c> names an instruction set that this CPU lacks.
    /// </exception>
    /// <exception cref="FusedKernelsLoadException">The native library is missing or of another version.</exception>
    public static FusedContext Cpu(int threads = 0, long workspaceLimit = 0) => CreateCpu(0, threads, workspaceLimit);

    /// <summary>
    /// Makes a context that runs on the CPU and borrows another context's threads. The threads live as long as their last
    /// context; calls of both contexts may run at once and then share them.
    /// </summary>
    /// <param name="shareThreadsWith">The context whose threads are used.</param>
    /// <param name="threads">Threads, the caller's included, at most that context's pool; 0: all of them.</param>
    /// <param name="workspaceLimit">Bytes of scratch memory that a call may hold; 0: 1 GiB.</param>
    /// <returns>The context; dispose it to free its scratch memory.</returns>
    /// <exception cref="ArgumentException">A value is negative or too large.</exception>
    /// <exception cref="ObjectDisposedException"><paramref name="shareThreadsWith"/> is disposed.</exception>
    public static FusedContext Cpu(FusedContext shareThreadsWith, int threads = 0, long workspaceLimit = 0)
    {
        ArgumentNullException.ThrowIfNull(shareThreadsWith);
        nint shared = shareThreadsWith.AddReference();
        try
        {
            return CreateCpu(shared, threads, workspaceLimit);
        }
        finally
        {
            shareThreadsWith._handle.DangerousRelease();
        }
    }

    /// <summary>Gives the scratch memory back to the system; the next call that needs some takes it anew.</summary>
    /// <exception cref="ObjectDisposedException">The context is disposed.</exception>
    /// <exception cref="InvalidOperationException">A call runs in the context.</exception>
    public void ReleaseWorkspace()
    {
        using var call = new NativeCall(this);
        call.ThrowIfFailed(NativeMethods.fk_context_release_workspace(call.Context));
    }

    /// <summary>Frees the context, after the call that runs in it, if there is one.</summary>
    public void Dispose() => _handle.Dispose();

    /// <summary>Takes the context for one call; <see cref="Exit"/> gives it back.</summary>
    // The native side refuses a second caller too. Here it must be refused before its cancellation token is registered:
    // that token would cancel the first caller's work.
    internal nint Enter()
    {
        nint context = AddReference();
        if (Interlocked.Exchange(ref _inUse, 1) == 0) return context;
        _handle.DangerousRelease();
        throw new InvalidOperationException(
            "The context is in use by another thread. A context serves one call at a time: give each thread its own, " +
            "FusedContext.Cpu(shareThreadsWith) makes one that borrows this one's threads.");
    }

    internal void Exit()
    {
        Volatile.Write(ref _inUse, 0);
        _handle.DangerousRelease();
    }

    /// <summary>Ends the call that runs now; only for the duration of a <see cref="NativeCall"/>.</summary>
    internal void Cancel() => NativeMethods.fk_context_cancel(_handle.DangerousGetHandle());

    private static FusedContext CreateCpu(nint shareThreadsWith, int threads, long workspaceLimit)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(workspaceLimit);
        return new FusedContext(new NativeContextOptions
        {
            DeviceType = DLDeviceType.Cpu,
            Threads = threads,
            WorkspaceLimit = (ulong)workspaceLimit,
            ShareThreadsWith = shareThreadsWith,
        });
    }

    // Keeps the native context alive against a concurrent Dispose.
    private nint AddReference()
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        bool added = false;
        _handle.DangerousAddRef(ref added);
        return _handle.DangerousGetHandle();
    }
}
