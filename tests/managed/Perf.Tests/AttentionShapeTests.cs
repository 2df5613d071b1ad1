using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class AttentionShapeTests
{
    private const int Tile = 64;

    [TestMethod]
    [DataRow(64)]
    [DataRow(257)]
    [DataRow(1000)]
    public void AWindowCountsTheTilesInWhichAQuerySeesAKey(int positions)
    {
        HashSet<(int Row, int Column)> touched = [];
        for (int query = 0; query < positions; query++)
        {
            for (int key = Math.Max(0, query - AttentionShape.Window); key <= query; key++)
                _ = touched.Add((query / Tile, key / Tile));
        }

        int rowsOfTiles = (positions + Tile - 1) / Tile;
        AttentionShape shape = new(1, 1, positions, 8, AttentionMask.Window);
        Assert.AreEqual((double)touched.Count / (rowsOfTiles * rowsOfTiles), shape.ShareOfScores, 1e-12);
    }

    [TestMethod]
    public void AMaskTakesItsShareOffTheFlops()
    {
        AttentionShape full = new(2, 3, 5, 7);
        Assert.AreEqual(4.0 * 2 * 3 * 5 * 5 * 7, full.ForwardFlops);
        Assert.AreEqual(full.ForwardFlops / 2, (full with { Mask = AttentionMask.Causal }).ForwardFlops);
        Assert.AreEqual(full.ForwardFlops, (full with { Mask = AttentionMask.Window }).ForwardFlops, "one tile in all");
    }

    [TestMethod]
    [DataRow(AttentionMask.Full, "attention f32 B1 H2 S70 d8 full forward", "attention 1 2 70 8 full forward")]
    [DataRow(AttentionMask.Causal, "attention f32 B1 H2 S70 d8 causal forward", "attention 1 2 70 8 causal forward")]
    [DataRow(AttentionMask.Window, "attention f32 B1 H2 S70 d8 window256 forward", null)]
    public void NamesAndPeerRequestsSayTheShape(AttentionMask mask, string name, string? peerRequest)
    {
        var workload = AttentionOperation.Forward(new(1, 2, 70, 8, mask));
        Assert.AreEqual(name, workload.Name);
        Assert.AreEqual(peerRequest, workload.PeerRequest);
    }
}
