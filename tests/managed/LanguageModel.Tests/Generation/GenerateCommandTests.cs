using FusedKernels;
using LanguageModel.Generation;

namespace LanguageModel.Tests.Generation;

[TestClass]
public sealed class GenerateCommandTests
{
    private static GenerationOptions? Parse(out string error, params string[] arguments)
    {
        GenerationOptions? options = null;
        var result = CommandLine.Create(_ => 0, parsed =>
        {
            options = parsed;
            return 0;
        }).Parse(["generate", .. arguments]);
        error = string.Join(' ', result.Errors.Select(e => e.Message));
        if (result.Errors.Count == 0)
        {
            result.Invoke();
        }

        return options;
    }

    [TestMethod]
    public void Nothing_said_means_the_defaults() => Assert.AreEqual(
        new GenerationOptions
        {
            Checkpoint = Path.Combine("out", "checkpoint.bin"), Tokens = 100, Temperature = 0.8, Seed = 1, Cache = KvPrecision.Float,
        },
        Parse(out _));

    [TestMethod]
    public void Every_option_arrives()
    {
        GenerationOptions expected = new()
        {
            Text = "t", Checkpoint = "c", Prompt = "Gets the", Tokens = 7, Temperature = 0, Seed = 9, Cache = KvPrecision.Int8, Threads = 2,
        };
        string[] arguments =
        [
            "--text", "t", "--output", "o", "--checkpoint", "c", "--prompt", "Gets the", "--tokens", "7", "--temperature", "0",
            "--seed", "9", "--threads", "2",
        ];

        Assert.AreEqual(expected, Parse(out _, [.. arguments, "--kv-precision", "int8"]));
        Assert.AreEqual(expected with { Cache = KvPrecision.BFloat16 }, Parse(out _, [.. arguments, "--kv-precision", "bf16"]));
        Assert.AreEqual(expected with { Cache = KvPrecision.Float }, Parse(out _, [.. arguments, "--kv-precision", "f32"]));
        Assert.AreEqual(expected with { Cache = null }, Parse(out _, [.. arguments, "--no-cache"]));
        Assert.AreEqual(Path.Combine("o", "checkpoint.bin"), Parse(out _, "--output", "o")!.Checkpoint);
    }

    [TestMethod]
    [DataRow("--tokens 0", "--tokens must be at least 1.")]
    [DataRow("--temperature -1", "--temperature must be between 0 and 100.")]
    [DataRow("--temperature NaN", "--temperature must be between 0 and 100.")]
    [DataRow("--kv-precision f16", "--kv-precision is f32, bf16 or int8, not 'f16'.")]
    [DataRow("--kv-precision int8 --no-cache", "Give --kv-precision or --no-cache, not both.")]
    [DataRow("--threads -1", "--threads must be 0")]
    [DataRow("--layers 3", "--layers")]
    public void Wrong_arguments_say_what_is_wrong(string arguments, string expected)
    {
        Assert.IsNull(Parse(out string error, arguments.Split(' ')));
        StringAssert.Contains(error, expected);
    }
}
