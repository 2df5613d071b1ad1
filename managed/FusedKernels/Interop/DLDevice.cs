using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>A device and its number (DLPack's <c>DLDevice</c>, 8 bytes).</summary>
/// <param name="DeviceType">The kind of device.</param>
/// <param name="DeviceId">The device's number; 0 for the CPU.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct DLDevice(DLDeviceType DeviceType, int DeviceId);
