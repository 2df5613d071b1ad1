namespace FusedKernels.Interop;

/// <summary>Where a <see cref="DLTensor"/>'s memory lies (DLPack's <c>DLDeviceType</c>).</summary>
public enum DLDeviceType
{
    /// <summary>Memory that the CPU reads.</summary>
    Cpu = 1,

    /// <summary>Memory of a CUDA device.</summary>
    Cuda = 2,

    /// <summary>Page-locked host memory (<c>cudaHostAlloc</c>).</summary>
    CudaHost = 3,
}
