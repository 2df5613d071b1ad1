namespace FusedKernels.Perf.Peers;

/// <summary>A peer is not installed, or refused a request.</summary>
internal sealed class PeerException(string message) : Exception(message);
