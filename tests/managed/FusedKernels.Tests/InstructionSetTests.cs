using System.Runtime.Intrinsics.X86;

namespace FusedKernels.Tests;

/// <summary>Every instruction set that this CPU has, forced in a process of its own.</summary>
[TestClass]
public sealed class InstructionSetTests
{
    private const string Variable = "FUSEDKERNELS_ISA";

    public static IEnumerable<string> Available
    {
        get
        {
            yield return "scalar";
            if (Sse42.IsSupported) yield return "sse4";
            if (Avx2.IsSupported && Fma.IsSupported) yield return "avx2";
            if (Avx512F.VL.IsSupported && Avx512BW.IsSupported && Avx512CD.IsSupported && Avx512DQ.IsSupported)
                yield return "avx512";
        }
    }

    [TestMethod, DynamicData(nameof(Available))]
    public void OperatorTestsPassOn(string name)
    {
        ChildProcess.Result result = ChildProcess.RunTestAssembly("operator-tests", environment: (Variable, name));
        string lastLine = result.Output.TrimEnd().Split('\n')[^1];
        Assert.StartsWith($"{name}: ", lastLine, result.Output);
        Assert.EndsWith(" passed, 0 failed", lastLine, result.Output);
        Assert.IsFalse(lastLine.Contains(": 0 passed", StringComparison.Ordinal), "no test ran");
        Assert.AreEqual(0, result.ExitCode);
    }

    [TestMethod]
    public void TheBestIsTakenByDefault()
    {
        ChildProcess.Result result = ChildProcess.RunTestAssembly("instruction-set", environment: (Variable, null));
        Assert.AreEqual(Available.Last(), result.Output.Trim());
    }

    [TestMethod]
    public void UnknownNameIsAnError()
    {
        ChildProcess.Result result = ChildProcess.RunTestAssembly("instruction-set", environment: (Variable, "mmx"));
        Assert.AreEqual(1, result.ExitCode);
        foreach (string part in (string[])[Variable, "mmx", "scalar", "sse4", "avx2", "avx512"])
            Assert.Contains(part, result.Output);
    }
}
