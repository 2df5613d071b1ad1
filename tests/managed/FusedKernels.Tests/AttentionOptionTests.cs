namespace FusedKernels.Tests;

/// <summary>Every option and every optional array of attention against the oracle, forward and backward, where leaving it
/// out would be noticed.</summary>
[TestClass, RunOnEveryInstructionSet]
public sealed class AttentionOptionTests
{
    private const int B = 2, Sq = 9, Sk = 12, H = 4, G = 2, D = 6, Dv = 5;

    [TestMethod, BackendData("IsCausal", "TopLeft", "WindowLeft", "WindowRight", "WindowsTopLeft", "Scale", "Softcap",
        "LengthScaleBase", "Dropout", "RotaryDims", "RotaryInterleaved", "RotaryBase", "RotaryQueryOffset",
        "RotaryKeyOffset", "QueryLengths", "KeyLengths", "PrefixLengths", "Starts", "StartsAndLengths", "Segments",
        "Mask", "SharedMask", "BlockMask", "Bias", "SharedBias", "BiasOfAllItems", "KeyBias", "SharedKeyBias",
        "AlibiSlopes", "AlibiSlopesOfItems", "RelativeBias", "RelativeMaxDistance", "IsRelativeBiasOneSided",
        "AxialBias", "AxialBiasX", "AxialBiasY", "Sinks", "ToeplitzFactor", "SharedToeplitzFactor", "DLogSumExp",
        "Everything")]
    public void OptionMatchesOracle(string backend, string option)
    {
        using FusedContext context = Backends.Create(backend);
        Create(option).RunAndCompare(context);
    }

    private static AttentionProblem Create(string option) => option switch
    {
        "IsCausal" => With(new() { IsCausal = true }),
        "TopLeft" => With(new() { IsCausal = true, Alignment = AttentionAlignment.TopLeft }),
        "WindowLeft" => With(new() { WindowLeft = 2 }),
        "WindowRight" => With(new() { WindowRight = 0 }),
        "WindowsTopLeft" => With(new() { WindowLeft = 1, WindowRight = 2, Alignment = AttentionAlignment.TopLeft }),
        "Scale" => With(new() { Scale = -0.3f }),
        "Softcap" => With(new() { Softcap = 0.7f }),
        "LengthScaleBase" => With(new() { LengthScaleBase = 2.5f, IsCausal = true }),
        "Dropout" => With(new() { Dropout = 0.4f, DropoutSeed = 0x123456789ABCDEF0 }),
        "RotaryDims" => With(new() { RotaryDims = 4 }),
        "RotaryInterleaved" => With(new() { RotaryDims = 6, RotaryInterleaved = true }),
        "RotaryBase" => With(new() { RotaryDims = 6, RotaryBase = 50 }),
        "RotaryQueryOffset" => With(new() { RotaryDims = 6, RotaryQueryOffset = 100 }),
        "RotaryKeyOffset" => With(new() { RotaryDims = 6, RotaryKeyOffset = 30, RotaryQueryOffset = 10 }),
        "QueryLengths" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            QueryLengths = [4, 9], Options = AttentionOptions.Causal,
        },
        "KeyLengths" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { KeyLengths = [0, 7] },
        "PrefixLengths" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            PrefixLengths = [6, 2], Options = AttentionOptions.Causal,
        },
        "Starts" => new AttentionProblem(1, Sq, Sk, H, G, D, Dv)
        {
            QueryStarts = [0, 4, 4, 8], KeyStarts = [0, 5, 7, 11], Options = AttentionOptions.Causal,
        },
        "StartsAndLengths" => new AttentionProblem(1, Sq, Sk, H, G, D, Dv)
        {
            QueryStarts = [0, 4, 9], KeyStarts = [0, 5, 12], QueryLengths = [3, 5], KeyLengths = [5, 4],
            PrefixLengths = [1, 3], Options = AttentionOptions.Causal,
        },
        "Segments" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            QuerySegments = Fill(new int[B, Sq], (b, i) => i / (3 + b)),
            KeySegments = Fill(new int[B, Sk], (b, j) => j / (4 + b)),
        },
        "Mask" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { Mask = RandomMask(B, H, Sq, Sk) },
        "SharedMask" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { Mask = RandomMask(1, 1, 1, Sk) },
        "BlockMask" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            BlockMask = RandomMask(B, H, 3, 3), Options = new() { MaskBlockRows = 4, MaskBlockColumns = 5 },
        },
        "Bias" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { Bias = TestArray.Random(11, -1, 1, B, H, Sq, Sk) },
        "SharedBias" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { Bias = TestArray.Random(11, -1, 1, B, 1, 1, Sk) },
        "BiasOfAllItems" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { Bias = TestArray.Random(11, -1, 1, Sq, Sk) },
        "KeyBias" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { KeyBias = TestArray.Random(12, -1, 1, B, H, Sk) },
        "SharedKeyBias" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { KeyBias = TestArray.Random(12, -1, 1, Sk) },
        "AlibiSlopes" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { AlibiSlopes = TestArray.Random(13, 0.1f, 0.5f, H) },
        "AlibiSlopesOfItems" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            AlibiSlopes = TestArray.Random(13, 0.1f, 0.5f, B, H),
        },
        "RelativeBias" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { RelativeBias = TestArray.Random(14, -1, 1, 8, H) },
        "RelativeMaxDistance" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            RelativeBias = TestArray.Random(14, -1, 1, 8, H), Options = new() { RelativeMaxDistance = 6 },
        },
        "IsRelativeBiasOneSided" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            RelativeBias = TestArray.Random(14, -1, 1, 7, H), Options = new() { IsRelativeBiasOneSided = true },
        },
        "AxialBias" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            AxialBiasX = TestArray.Random(15, -1, 1, B, H, Sq, 3), AxialBiasY = TestArray.Random(16, -1, 1, Sq, Sk / 3),
        },
        "AxialBiasX" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { AxialBiasX = TestArray.Random(15, -1, 1, H, Sq, 4) },
        "AxialBiasY" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { AxialBiasY = TestArray.Random(16, -1, 1, H, Sq, 4) },
        "Sinks" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { Sinks = TestArray.Random(17, -1, 3, H) },
        "ToeplitzFactor" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            ToeplitzFactor = TestArray.Random(18, -1, 2, H, Sq + Sk - 1),
        },
        "SharedToeplitzFactor" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            ToeplitzFactor = TestArray.Random(18, -1, 2, Sq + Sk - 1),
        },
        "DLogSumExp" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv) { DLogSumExp = RandomGradients() },
        "Everything" => new AttentionProblem(B, Sq, Sk, H, G, D, Dv)
        {
            Options = new()
            {
                IsCausal = true, WindowLeft = 8, Softcap = 3, Dropout = 0.2f, DropoutSeed = 7, RotaryDims = 4, Scale = 0.4f,
                LengthScaleBase = 3, MaskBlockRows = 4, MaskBlockColumns = 5,
            },
            QueryLengths = [9, 6], KeyLengths = [12, 8], PrefixLengths = [3, 1],
            QuerySegments = Fill(new int[B, Sq], (_, i) => i / 5), KeySegments = Fill(new int[B, Sk], (_, j) => j / 8),
            Mask = RandomMask(1, H, Sq, Sk), BlockMask = RandomMask(B, 1, 3, 3),
            Bias = TestArray.Random(11, -1, 1, H, Sq, Sk),
            KeyBias = TestArray.Random(12, -1, 1, B, H, Sk), AlibiSlopes = TestArray.Random(13, 0.1f, 0.5f, H),
            RelativeBias = TestArray.Random(14, -1, 1, 8, H), Sinks = TestArray.Random(17, -1, 1, H),
            AxialBiasX = TestArray.Random(15, -1, 1, Sq, 4), AxialBiasY = TestArray.Random(16, -1, 1, Sq, 3),
            ToeplitzFactor = TestArray.Random(18, 0, 2, H, Sq + Sk - 1), DLogSumExp = RandomGradients(),
        },
        _ => throw new ArgumentException(option),
    };

    private static AttentionProblem With(AttentionOptions options) => new(B, Sq, Sk, H, G, D, Dv) { Options = options };

    private static int[,] Fill(int[,] array, Func<int, int, int> value)
    {
        for (int row = 0; row < array.GetLength(0); row++)
            for (int column = 0; column < array.GetLength(1); column++) array[row, column] = value(row, column);
        return array;
    }

    // Two of three keys are seen.
    private static bool[,,,] RandomMask(int items, int heads, int rows, int columns)
    {
        bool[,,,] mask = new bool[items, heads, rows, columns];
        Random random = new(21);
        for (int b = 0; b < items; b++)
            for (int h = 0; h < heads; h++)
                for (int i = 0; i < rows; i++)
                    for (int j = 0; j < columns; j++) mask[b, h, i, j] = random.Next(3) != 0;
        return mask;
    }

    private static float[,,] RandomGradients()
    {
        float[,,] gradients = new float[B, H, Sq];
        Random random = new(22);
        for (int b = 0; b < B; b++)
            for (int h = 0; h < H; h++)
                for (int i = 0; i < Sq; i++) gradients[b, h, i] = 2 * random.NextSingle() - 1;
        return gradients;
    }
}
