using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Settings of <see cref="Distillation"/>; <c>default</c> takes the mean at temperature 1.</summary>
public readonly record struct DistillationOptions
{
    // Null stands for 1, so that default(DistillationOptions) means what it says.
    private readonly float? _temperature;

    /// <summary>Mean (default), sum, or one loss per row. The mean divides by the sum of the rows' weights.</summary>
    public LossReduction Reduction { get; init; }

    /// <summary>What the logits of both models are divided by; 1 by default. Finite, above 0.</summary>
    public float Temperature
    {
        get => _temperature ?? 1;
        init => _temperature = value == 1 ? null : value;
    }

    internal unsafe NativeDistillationOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeDistillationOptions),
        Reduction = Reduction,
        Temperature = Temperature,
    };
}
