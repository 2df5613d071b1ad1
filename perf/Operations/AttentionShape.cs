namespace FusedKernels.Perf.Operations;

/// <summary>Self-attention of B sequences of S positions with H heads of D dimensions.</summary>
internal sealed record AttentionShape(int B, int H, int S, int D, AttentionMask Mask = AttentionMask.Full)
{
    /// <summary>The positions behind its own that a query sees with <see cref="AttentionMask.Window"/>.</summary>
    public const int Window = 256;

    private const int Tile = 64;

    /// <summary>Elements of q, and of each of k, v and output.</summary>
    public int Elements => B * H * S * D;

    /// <summary>The axes of q, k, v and output.</summary>
    public nint[] Axes => [B, S, H, D];

    /// <summary>The settings of the call.</summary>
    public AttentionOptions Options => new()
    {
        IsCausal = Mask is not AttentionMask.Full,
        WindowLeft = Mask is AttentionMask.Window ? Window : null,
    };

    /// <summary>The mask in names and in requests to peers.</summary>
    public string MaskName => Mask switch
    {
        AttentionMask.Full => "full",
        AttentionMask.Causal => "causal",
        _ => $"window{Window}",
    };

    /// <summary>Two products of the scores that count: 4BHSSD flop times <see cref="ShareOfScores"/>.</summary>
    public double ForwardFlops => 4.0 * B * H * S * S * D * ShareOfScores;

    /// <summary>
    /// The share of the scores that count: half for a causal mask, and for a window the 64x64 tiles that it touches, because
    /// the masked part of a tile costs as much as the rest.
    /// </summary>
    public double ShareOfScores => Mask switch
    {
        AttentionMask.Full => 1,
        AttentionMask.Causal => 0.5,
        _ => ShareOfTouchedTiles(),
    };

    private double ShareOfTouchedTiles()
    {
        int rowsOfTiles = (S + Tile - 1) / Tile;
        double touched = Enumerable.Range(0, rowsOfTiles).Sum(row => row - FirstTouchedTile(row) + 1);
        return touched / ((double)rowsOfTiles * rowsOfTiles);
    }

    // The first query of a row of tiles sees furthest back; the last tile is the one on the diagonal.
    private static int FirstTouchedTile(int row) => Math.Max(0, (row * Tile) - Window) / Tile;
}
