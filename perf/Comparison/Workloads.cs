using System.Runtime.InteropServices;
using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Comparison;

/// <summary>The workloads of the comparison. An operator joins by its entry here; names stay as they are for good.</summary>
internal static class Workloads
{
    /// <summary>The size of the allocation that <see cref="MemoryProbeCheck"/> makes.</summary>
    public const int MemoryProbeCheckBytes = 64_000_000;

    /// <summary>All workloads, in the order of the report.</summary>
    public static IReadOnlyList<Workload> All { get; } =
    [
        GemmOperation.Workload(1024, 8192, 2304, new Demand(Units.OfPeak, 0.85)),
        .. CutCrossEntropyOf(1024, 32000, 2048, megabytes: 64),
        CutCrossEntropyOperation.ForwardBFloat16(
            1024, 32000, 2048, new Demand(Units.TimesFloat32, 0.9), new Demand(Units.Megabytes, 64)),
        CutCrossEntropyOperation.LossAndGradientRecompute(1024, 32000, 2048, new Demand(Units.Megabytes, 16)),
        .. CutCrossEntropyOf(512, 128256, 2048, megabytes: 256),
        .. CutCrossEntropyOf(4096, 50257, 768, megabytes: 64),
        new MemoryWorkload(CutCrossEntropyOperation.LossAndGradient(1024, 256000, 2304))
        {
            Demands = [new Demand(Units.Megabytes, 256)],
        },
        CutCrossEntropyOperation.Growth(
            [256, 1024, 8192], 32000, 768, new Demand(Units.TimeSpread, 1.1), new Demand(Units.WorkspaceMegabytes, 64)),
        .. AttentionOf(new(1, 8, 2048, 128), forwardOfPeak: 0.65, forwardTimesPeer: 1.3),
        .. AttentionOf(new(1, 12, 2048, 64), forwardOfPeak: 0.55, forwardTimesPeer: 1.5),
        .. AttentionOf(new(1, 12, 2048, 64, AttentionMask.Causal), forwardOfPeak: 0.55, forwardTimesPeer: 1.5),
        .. LongAttention(),
        DecodeOperation.Step(1, 32, 8, 16384, 128, new Demand(Units.OfBandwidth, 0.85)),
        RmsNormOperation.Forward(32768, 2048),
        new CallOverheadWorkload("call_overhead empty", 0)
        {
            Demands = [new Demand(Units.Nanoseconds, 150), new Demand(Units.Bytes, 0)],
        },
        new CallOverheadWorkload("call_overhead 1x1x1", 1)
        {
            Demands = [new Demand(Units.Nanoseconds, 300), new Demand(Units.Bytes, 0)],
        },
    ];

    /// <summary>Allocates a known amount, to check the memory probe itself.</summary>
    public static ThroughputWorkload MemoryProbeCheck { get; } = new("memory probe check", 0, _ => AllocateAndTouch);

    /// <summary>The workloads whose name contains <paramref name="filter"/>; all for <see langword="null"/>.</summary>
    /// <exception cref="ArgumentException">No name does.</exception>
    public static IReadOnlyList<Workload> Matching(string? filter)
    {
        Workload[] matching = [.. All.Where(w => w.Name.Contains(filter ?? "", StringComparison.OrdinalIgnoreCase))];
        return matching.Length > 0
            ? matching
            : throw new ArgumentException($"No workload's name contains '{filter}'. 'compare --list' shows the names.");
    }

    /// <summary>The workload with this name, for a child process that measures its memory.</summary>
    public static OperatorWorkload ForMemoryProbe(string name) =>
        All.OfType<OperatorWorkload>().Append(MemoryProbeCheck).Single(workload => workload.Name == name);

    private static Workload[] CutCrossEntropyOf(int n, int v, int d, double megabytes)
    {
        Demand memory = new(Units.Megabytes, megabytes);
        return
        [
            CutCrossEntropyOperation.Forward(
                n, v, d, new Demand(Units.OfPeak, 0.85), new Demand(Units.TimesPeer, 1.3), memory),
            CutCrossEntropyOperation.LossAndGradient(
                n, v, d, new Demand(Units.OfPeak, 0.80), new Demand(Units.TimesPeer, 1.2), memory),
            CutCrossEntropyOperation.LossAndGradientFiltered(n, v, d, new Demand(Units.TimesPeer, 2), memory),
        ];
    }

    private static Workload[] AttentionOf(AttentionShape shape, double forwardOfPeak, double forwardTimesPeer) =>
    [
        AttentionOperation.Forward(
            shape, new Demand(Units.OfPeak, forwardOfPeak), new Demand(Units.TimesPeer, forwardTimesPeer)),
        AttentionOperation.Backward(shape, new Demand(Units.OfPeak, 0.58), new Demand(Units.TimesPeer, 1.2)),
    ];

    private static Workload[] LongAttention()
    {
        AttentionShape full = new(1, 1, 16384, 128), window = full with { Mask = AttentionMask.Window };
        Reference shorter = new(AttentionOperation.Forward(new(1, 8, 2048, 128)), Units.TimePerFlopOfS2048);
        Reference unmasked = new(AttentionOperation.Forward(full), Units.TimePerFlopOfFull);
        return
        [
            AttentionOperation.ForwardBeside(
                [shorter], full, new Demand(Units.TimePerFlopOfS2048, 1.1), new Demand(Units.Megabytes, 8)),
            AttentionOperation.ForwardBeside([unmasked], window, new Demand(Units.TimePerFlopOfFull, 1.3)),
        ];
    }

    private static unsafe void AllocateAndTouch()
    {
        void* memory = NativeMemory.Alloc(MemoryProbeCheckBytes);
        NativeMemory.Fill(memory, MemoryProbeCheckBytes, 1);
        NativeMemory.Free(memory);
    }
}
