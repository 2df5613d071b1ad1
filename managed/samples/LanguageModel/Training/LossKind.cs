namespace LanguageModel.Training;

/// <summary>How the loss is computed.</summary>
internal enum LossKind
{
    /// <summary>The library's cut cross-entropy; no logits are stored.</summary>
    Cut,

    /// <summary>Through stored logits, for comparison.</summary>
    Materialised,
}
