namespace FusedKernels.Packaging.Tests;

/// <summary>The package as its users meet it: restored into an empty project, published, and run from where it was published.</summary>
[TestClass]
public sealed class PackageTests
{
    // Scores of row 0: 1, 0, 1; of row 1: 0, 2, 2.
    private const string Program = """
        using FusedKernels;

        float[,] embeddings = { { 1, 0 }, { 0, 2 } };
        float[,] classifier = { { 1, 0 }, { 0, 1 }, { 1, 1 } };
        int[] targets = [0, 2];
        using FusedContext context = FusedContext.Cpu();
        Console.WriteLine(FusedContext.BuildInfo);
        Console.WriteLine(CutCrossEntropy.Forward(context, embeddings, classifier, targets));
        """;

    private static readonly Lazy<ConsumerProject> Consumer = new(() => new ConsumerProject(Program));

    [TestMethod]
    public void Package_HoldsTheAssemblyItsDocumentationAndOneNativeLibrary()
    {
        string[] expected =
        [
            "FusedKernels.nuspec",
            "LICENSE",
            "README.md",
            "lib/net10.0/FusedKernels.dll",
            "lib/net10.0/FusedKernels.xml",
            "runtimes/linux-x64/native/libfusedkernels.so",
        ];

        CollectionAssert.AreEquivalent(expected, Package.Entries.ToArray());
        Assert.AreEqual(File.ReadAllText(Repository.PathOf("README.md")), Package.Read("README.md"));
        Assert.Contains("<readme>README.md</readme>", Package.Read("FusedKernels.nuspec"));
        Assert.Contains("<license type=\"expression\">MIT</license>", Package.Read("FusedKernels.nuspec"));
    }

    [TestMethod]
    [DataRow(DisplayName = "portable")]
    [DataRow("--runtime", "linux-x64", "--no-self-contained", DisplayName = "for one runtime identifier")]
    [DataRow("--runtime", "linux-x64", "--no-self-contained", "-p:PublishSingleFile=true", DisplayName = "single file")]
    [DataRow("--runtime", "linux-x64", "--no-self-contained", "-p:PublishSingleFile=true",
        "-p:IncludeNativeLibrariesForSelfExtract=true", DisplayName = "single file with the library inside")]
    public void PublishedConsumer_ComputesTheLoss(params string[] publishArguments)
    {
        Tool.Result result = ConsumerProject.Start(Consumer.Value.Publish(publishArguments));

        Assert.AreEqual(0, result.ExitCode, result.ToString());
        string[] lines = result.Output.Split('\n');
        StringAssert.StartsWith(lines[0], $"FusedKernels {Package.Version},");
        double expected = (Math.Log(2 * Math.E + 1) - 1 + Math.Log(2 * Math.Exp(2) + 1) - 2) / 2;
        // The scores are exact; then about ten results below 4 round: exp, the sum of three, log, the difference, the mean.
        Assert.AreEqual(expected, double.Parse(lines[1]), 10 * 4 * Math.Pow(2, -24));
    }

    [TestMethod]
    public void MissingLibrary_IsNamedWithItsPackageAndRuntimeIdentifier()
    {
        string published = Consumer.Value.Publish();
        foreach (string library in Directory.GetFiles(published, "libfusedkernels.so", SearchOption.AllDirectories))
            File.Delete(library);

        Tool.Result result = ConsumerProject.Start(published);

        Assert.AreNotEqual(0, result.ExitCode);
        Assert.Contains("FusedKernelsLoadException", result.Errors);
        Assert.Contains("libfusedkernels.so", result.Errors);
        Assert.Contains("linux-x64", result.Errors);
        Assert.Contains("package FusedKernels", result.Errors);
    }
}
