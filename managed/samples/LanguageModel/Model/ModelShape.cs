namespace LanguageModel.Model;

/// <summary>The sizes of a transformer.</summary>
/// <param name="Vocabulary">Tokens are in [0, Vocabulary).</param>
/// <param name="Layers">Blocks of attention and MLP.</param>
/// <param name="Dim">Width of the residual stream; a multiple of 2 * Heads.</param>
/// <param name="Heads">Attention heads of the queries; a multiple of KvHeads.</param>
/// <param name="KvHeads">Attention heads of keys and values, each for Heads / KvHeads of the queries' heads (Ainslie et al.,
/// "GQA", 2023).</param>
/// <param name="Window">Tokens that a token attends to, itself included; null: itself and all before it.</param>
internal sealed record ModelShape(int Vocabulary, int Layers, int Dim, int Heads, int KvHeads, int? Window = null)
{
    private const int HiddenMultiple = 64;

    public int HeadDim => Dim / Heads;

    /// <summary>8/3 of the width, so that the three matrices of a SwiGLU cost what two of 4x would (Shazeer, 2020).</summary>
    public int Hidden => ((8 * Dim / 3) + HiddenMultiple - 1) / HiddenMultiple * HiddenMultiple;
}
