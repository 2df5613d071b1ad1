using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FusedKernels.Perf.Machine;

/// <summary>
/// The machine's read-only memory bandwidth: every thread sums its own part of a buffer that no cache holds.
/// </summary>
internal sealed unsafe class ReadBandwidth : IMachineLoop, IDisposable
{
    private const int BlockBytes = 8 * 32;            // eight accumulators of 256 bits
    private const long SmallestBufferBytes = 128 << 20; // where the caches' sizes cannot be read
    private const int StepBytes = 1 << 20;            // a look at the clock per MiB costs nothing beside reading it

    private readonly nint _bufferBytes;
    private byte* _buffer;

    /// <summary>Allocates the buffer, four times the last-level cache, and touches it.</summary>
    public ReadBandwidth()
    {
        _bufferBytes = (nint)Math.Max(SmallestBufferBytes, 4 * LastLevelCacheBytes());
        _buffer = (byte*)NativeMemory.AlignedAlloc((nuint)_bufferBytes, 64);
        NativeMemory.Fill(_buffer, (nuint)_bufferBytes, 1); // pages that were never written would all be one page of zeros
    }

    /// <inheritdoc/>
    public string Unit => "of_bandwidth";

    /// <inheritdoc/>
    public string Name => "read bandwidth";

    /// <inheritdoc/>
    public double Measure(int threads, TimeSpan duration)
    {
        ObjectDisposedException.ThrowIf(_buffer is null, this);
        nint stepsPerThread = _bufferBytes / StepBytes / threads;
        nint[] position = new nint[threads];
        return ParallelRate.Sum(threads, duration, thread =>
        {
            nint step = (thread * stepsPerThread) + position[thread];
            position[thread] = (position[thread] + 1) % stepsPerThread;
            _ = Sum(_buffer + (step * StepBytes));
            return StepBytes;
        });
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_buffer);
        _buffer = null;
    }

    /// <summary>The size of the largest cache that the kernel lists, 0 when it lists none.</summary>
    internal static long LastLevelCacheBytes()
    {
        const string caches = "/sys/devices/system/cpu/cpu0/cache";
        return Directory.Exists(caches)
            ? Directory.GetFiles(caches, "size", SearchOption.AllDirectories).Max(file => ParseSize(File.ReadAllText(file)))
            : 0;
    }

    /// <summary>Reads a size as the kernel writes it: <c>32768K</c>, <c>32M</c>, or plain bytes.</summary>
    internal static long ParseSize(string text)
    {
        ReadOnlySpan<char> size = text.AsSpan().Trim();
        int shift = size[^1] == 'K' ? 10 : size[^1] == 'M' ? 20 : 0;
        return long.Parse(shift == 0 ? size : size[..^1], CultureInfo.InvariantCulture) << shift;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static long Sum(byte* start)
    {
        Vector256<long> s0 = default, s1 = default, s2 = default, s3 = default;
        Vector256<long> s4 = default, s5 = default, s6 = default, s7 = default;
        byte* end = start + StepBytes;
        for (byte* p = start; p < end; p += BlockBytes)
        {
            s0 += Vector256.Load((long*)p);
            s1 += Vector256.Load((long*)(p + 32));
            s2 += Vector256.Load((long*)(p + 64));
            s3 += Vector256.Load((long*)(p + 96));
            s4 += Vector256.Load((long*)(p + 128));
            s5 += Vector256.Load((long*)(p + 160));
            s6 += Vector256.Load((long*)(p + 192));
            s7 += Vector256.Load((long*)(p + 224));
        }

        return Vector256.Sum(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7);
    }
}
