namespace FusedKernels;

/// <summary>How the loss with its gradient of <see cref="CutCrossEntropy"/> trades memory for time.</summary>
public enum LossSchedule
{
    /// <summary>Fused where the workspace limit lets its score panel be tall enough, recompute otherwise.</summary>
    Auto = 0,

    /// <summary>Only the log-sum-exp is kept and the scores are computed twice: 4 matrix products.</summary>
    Recompute = 1,

    /// <summary>A block of rows keeps its scores in the workspace: 3 matrix products.</summary>
    Fused = 2,
}
