namespace FusedKernels.Interop;

/// <summary>Refuses what the C ABI cannot name as a C# caller knows it.</summary>
internal static class TensorArguments
{
    public static void Require(bool isSet, string name, string shape)
    {
        if (!isSet) throw new ArgumentException($"{name} is not set; this call needs it: {shape}.", name);
    }
}
