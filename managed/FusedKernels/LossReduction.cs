namespace FusedKernels;

/// <summary>How the losses of the rows become the loss.</summary>
public enum LossReduction
{
    /// <summary>Their mean over the rows that are not ignored, by weight where rows have one; 0 when there are
    /// none.</summary>
    Mean = 0,

    /// <summary>Their sum.</summary>
    Sum = 1,

    /// <summary>One loss per row, into an array of the caller's.</summary>
    None = 2,
}
