using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FusedKernels.Perf.Machine;

/// <summary>
/// The machine's f32 fused multiply-add peak: independent chains in registers, no memory, the widest vectors that the
/// CPU has. The peak that matrix products are measured against.
/// </summary>
internal sealed class FmaPeak : IMachineLoop
{
    // Two FMA pipes times a latency of four or five cycles need 8 to 10 chains; 12, an operand and an addend still fit
    // in the 16 registers of AVX2.
    private const int Chains = 12;
    private const int FlopsPerFma = 2;
    private const int IterationsPerStep = 20_000; // 12 x 20,000 FMAs: about 0.1 ms, so that looking at the clock is free

    // A factor below 1 and an addend pull each chain towards Addend / (1 - Factor): neither infinite nor subnormal.
    private const float Factor = 0.75f;
    private const float Addend = 0.25f;

    /// <inheritdoc/>
    public string Unit => "of_peak";

    /// <inheritdoc/>
    public string Name => "FMA peak";

    private static int VectorBits => Avx512F.IsSupported ? 512 : Fma.IsSupported ? 256 : 128;

    /// <inheritdoc/>
    public double Measure(int threads, TimeSpan duration)
    {
        double flopsPerStep = (double)IterationsPerStep * Chains * FlopsPerFma * (VectorBits / (8 * sizeof(float)));
        return ParallelRate.Sum(threads, duration, thread =>
        {
            _ = Avx512F.IsSupported ? Chains512() : Fma.IsSupported ? Chains256() : Chains128();
            return flopsPerStep;
        });
    }

    // The three methods are one loop in three widths. They are written out because an array or a helper of accumulators
    // would not stay in registers, and optimised at once because a loop that tiered compilation replaces in mid-run
    // (on-stack replacement) keeps its accumulators in memory. The chains start at different values, or a compiler could
    // merge them into one.
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static float Chains512()
    {
        Vector512<float> factor = Vector512.Create(Factor), addend = Vector512.Create(Addend);
        Vector512<float> c0 = addend, c1 = c0 + addend, c2 = c1 + addend, c3 = c2 + addend;
        Vector512<float> c4 = c3 + addend, c5 = c4 + addend, c6 = c5 + addend, c7 = c6 + addend;
        Vector512<float> c8 = c7 + addend, c9 = c8 + addend, c10 = c9 + addend, c11 = c10 + addend;
        for (int i = 0; i < IterationsPerStep; i++)
        {
            c0 = Avx512F.FusedMultiplyAdd(c0, factor, addend);
            c1 = Avx512F.FusedMultiplyAdd(c1, factor, addend);
            c2 = Avx512F.FusedMultiplyAdd(c2, factor, addend);
            c3 = Avx512F.FusedMultiplyAdd(c3, factor, addend);
            c4 = Avx512F.FusedMultiplyAdd(c4, factor, addend);
            c5 = Avx512F.FusedMultiplyAdd(c5, factor, addend);
            c6 = Avx512F.FusedMultiplyAdd(c6, factor, addend);
            c7 = Avx512F.FusedMultiplyAdd(c7, factor, addend);
            c8 = Avx512F.FusedMultiplyAdd(c8, factor, addend);
            c9 = Avx512F.FusedMultiplyAdd(c9, factor, addend);
            c10 = Avx512F.FusedMultiplyAdd(c10, factor, addend);
            c11 = Avx512F.FusedMultiplyAdd(c11, factor, addend);
        }

        return Vector512.Sum(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static float Chains256()
    {
        Vector256<float> factor = Vector256.Create(Factor), addend = Vector256.Create(Addend);
        Vector256<float> c0 = addend, c1 = c0 + addend, c2 = c1 + addend, c3 = c2 + addend;
        Vector256<float> c4 = c3 + addend, c5 = c4 + addend, c6 = c5 + addend, c7 = c6 + addend;
        Vector256<float> c8 = c7 + addend, c9 = c8 + addend, c10 = c9 + addend, c11 = c10 + addend;
        for (int i = 0; i < IterationsPerStep; i++)
        {
            c0 = Fma.MultiplyAdd(c0, factor, addend);
            c1 = Fma.MultiplyAdd(c1, factor, addend);
            c2 = Fma.MultiplyAdd(c2, factor, addend);
            c3 = Fma.MultiplyAdd(c3, factor, addend);
            c4 = Fma.MultiplyAdd(c4, factor, addend);
            c5 = Fma.MultiplyAdd(c5, factor, addend);
            c6 = Fma.MultiplyAdd(c6, factor, addend);
            c7 = Fma.MultiplyAdd(c7, factor, addend);
            c8 = Fma.MultiplyAdd(c8, factor, addend);
            c9 = Fma.MultiplyAdd(c9, factor, addend);
            c10 = Fma.MultiplyAdd(c10, factor, addend);
            c11 = Fma.MultiplyAdd(c11, factor, addend);
        }

        return Vector256.Sum(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
    }

    // MultiplyAddEstimate is a fused multiply-add on Arm and a multiply and an add on x86-64 without FMA: two flops either
    // way.
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static float Chains128()
    {
        Vector128<float> factor = Vector128.Create(Factor), addend = Vector128.Create(Addend);
        Vector128<float> c0 = addend, c1 = c0 + addend, c2 = c1 + addend, c3 = c2 + addend;
        Vector128<float> c4 = c3 + addend, c5 = c4 + addend, c6 = c5 + addend, c7 = c6 + addend;
        Vector128<float> c8 = c7 + addend, c9 = c8 + addend, c10 = c9 + addend, c11 = c10 + addend;
        for (int i = 0; i < IterationsPerStep; i++)
        {
            c0 = Vector128.MultiplyAddEstimate(c0, factor, addend);
            c1 = Vector128.MultiplyAddEstimate(c1, factor, addend);
            c2 = Vector128.MultiplyAddEstimate(c2, factor, addend);
            c3 = Vector128.MultiplyAddEstimate(c3, factor, addend);
            c4 = Vector128.MultiplyAddEstimate(c4, factor, addend);
            c5 = Vector128.MultiplyAddEstimate(c5, factor, addend);
            c6 = Vector128.MultiplyAddEstimate(c6, factor, addend);
            c7 = Vector128.MultiplyAddEstimate(c7, factor, addend);
            c8 = Vector128.MultiplyAddEstimate(c8, factor, addend);
            c9 = Vector128.MultiplyAddEstimate(c9, factor, addend);
            c10 = Vector128.MultiplyAddEstimate(c10, factor, addend);
            c11 = Vector128.MultiplyAddEstimate(c11, factor, addend);
        }

        return Vector128.Sum(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
    }
}
