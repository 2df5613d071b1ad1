namespace FusedKernels;

/// <summary>How the losses of the rows become the loss.</summary>
public enum LossReduction
{
    /// <summary>Their mean over the rows that are not ignored; 0 when there are none.</summary>
    Mean = 0,

    /// <summary>Their sum.</summary>
    Sum = 1,

    /// <summary>One loss per row. The methods named <c>...PerRow</c> use it by themselves; a method that returns one number
    /// refuses it.</summary>
    None = 2,
}
