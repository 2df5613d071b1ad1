namespace FusedKernels.Tests.Support;

/// <summary>What the elements of a matrix are stored as.</summary>
public enum ElementType
{
    Float,
    BFloat16,
    Half,
}
