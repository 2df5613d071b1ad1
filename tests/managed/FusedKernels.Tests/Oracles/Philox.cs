namespace FusedKernels.Tests.Oracles;

/// <summary>Philox4x32-10: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.</summary>
internal static class Philox
{
    /// <summary>One of the four words of a counter, for a key of which the seed has both halves.</summary>
    public static uint Word(ulong seed, uint c0, uint c1, uint c2, uint c3, int word)
    {
        (uint k0, uint k1) = ((uint)seed, (uint)(seed >> 32));
        for (int round = 0; round < 10; round++)
        {
            ulong first = 0xD2511F53UL * c0, second = 0xCD9E8D57UL * c2;
            (c0, c1, c2, c3) = ((uint)(second >> 32) ^ c1 ^ k0, (uint)second, (uint)(first >> 32) ^ c3 ^ k1, (uint)first);
            (k0, k1) = (k0 + 0x9E3779B9, k1 + 0xBB67AE85);
        }
        return word switch { 0 => c0, 1 => c1, 2 => c2, _ => c3 };
    }
}
