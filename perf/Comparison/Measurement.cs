using System.Text.Json;
using System.Text.Json.Serialization;

namespace FusedKernels.Perf.Comparison;

/// <summary>
/// One figure of the report: what was measured, in one unit, beside one peer's figure in the same unit where there is one.
/// </summary>
/// <param name="Name">The workload's name.</param>
/// <param name="Value">The library's figure.</param>
/// <param name="Unit">One of <see cref="Units"/>.</param>
/// <param name="Peer">The library that is compared with, <see langword="null"/> for none.</param>
/// <param name="PeerValue">The peer's figure in <paramref name="Unit"/>.</param>
internal sealed record Measurement(string Name, double Value, string Unit, string? Peer = null, double? PeerValue = null)
{
    private static readonly JsonSerializerOptions Json =
        new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true };

    /// <summary>What stands behind the figure, for the table: times and rates.</summary>
    [JsonIgnore]
    public string Detail { get; init; } = "";

    /// <summary>The limit that the figure should keep, if there is one.</summary>
    [JsonIgnore]
    public Demand? Demand { get; init; }

    /// <summary>The measurements as a JSON array of name, value, unit, peer and peer_value.</summary>
    public static string ToJson(IEnumerable<Measurement> measurements) => JsonSerializer.Serialize(measurements, Json);
}
