using System.Runtime.CompilerServices;

namespace FusedKernels.Interop;

/// <summary>
/// One call in a context, from the check of the context to the release of it: <c>using var call = new NativeCall(...)</c>.
/// Costs two interlocked pairs; nothing is allocated unless the token can be cancelled.
/// </summary>
internal readonly ref struct NativeCall
{
    private readonly FusedContext _context;
    private readonly CancellationToken _cancellationToken;
    private readonly CancellationTokenRegistration _registration;

    public NativeCall(FusedContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        cancellationToken.ThrowIfCancellationRequested();
        Context = context.Enter();
        _context = context;
        _cancellationToken = cancellationToken;
        if (cancellationToken.CanBeCanceled)
            _registration = cancellationToken.UnsafeRegister(static state => ((FusedContext)state!).Cancel(), context);
    }

    /// <summary>The <c>fk_context*</c>.</summary>
    public nint Context { get; }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void ThrowIfFailed(FusedKernelsStatus status) => NativeError.ThrowIfFailed(status, _cancellationToken);

    public void Dispose()
    {
        if (_cancellationToken.CanBeCanceled)
        {
            // Waits for a callback that is running, so that a late cancel cannot hit the context's next call.
            _registration.Dispose();
            if (_cancellationToken.IsCancellationRequested) NativeMethods.fk_context_clear_cancel(Context);
        }
        _context.Exit();
    }
}
