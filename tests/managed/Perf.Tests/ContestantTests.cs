using FusedKernels.Perf.Comparison;
using FusedKernels.Perf.Machine;

namespace FusedKernels.Perf.Tests;

[TestClass]
public sealed class ContestantTests
{
    [TestMethod]
    public void EachTimingIsHeldAgainstTheLimitMeasuredAroundIt()
    {
        // The machine slows down by half between the second and the third turn; the share stays what it is.
        ScriptedLoop loop = new(100, 100, 100, 100, 50, 50);
        Contestant contestant = new("op", new Queue<double>([1.0, 1.0, 2.0]).Dequeue);

        TakeTurns(contestant, loop, 3);

        Assert.AreEqual(0.8, contestant.ShareOfLimit(80), 1e-12);
        Assert.AreEqual(100, contestant.MedianLimit);
    }

    [TestMethod]
    public void TheLimitIsTheMeanOfBeforeAndAfter()
    {
        Contestant contestant = new("op", () => 1.0);
        TakeTurns(contestant, new ScriptedLoop(60, 100), 1);
        Assert.AreEqual(80, contestant.MedianLimit);
    }

    [TestMethod]
    public void SpeedOverAPeerIsItsTimeOverOurs()
    {
        Contestant ours = new("ours", new Queue<double>([1.0, 2.0, 1.0]).Dequeue);
        Contestant peer = new("peer", new Queue<double>([3.0, 6.0, 1.0]).Dequeue);
        ScriptedLoop loop = new([.. Enumerable.Repeat(1.0, 12)]);
        TakeTurns(ours, loop, 3);
        TakeTurns(peer, loop, 3);
        Assert.AreEqual(3.0, ours.SpeedOver(peer));
    }

    private static void TakeTurns(Contestant contestant, ScriptedLoop loop, int turns)
    {
        for (int i = 0; i < turns; i++) contestant.TakeTurn(loop, 1, TimeSpan.Zero);
    }

    private sealed class ScriptedLoop(params double[] rates) : IMachineLoop
    {
        private readonly Queue<double> _rates = new(rates);

        public string Unit => Units.OfPeak;

        public string Name => "scripted";

        public double Measure(int threads, TimeSpan duration) => _rates.Dequeue();
    }
}
