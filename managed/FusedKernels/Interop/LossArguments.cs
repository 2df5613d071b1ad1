namespace FusedKernels.Interop;

/// <summary>Refuses arguments of a loss that the C ABI cannot name as a C# caller knows them.</summary>
internal static class LossArguments
{
    /// <summary>For methods that return the loss, which is one number with Mean and Sum only.</summary>
    public static void RequireOneLoss(LossReduction reduction)
    {
        if (reduction == LossReduction.None)
            throw new ArgumentException("options.Reduction is None, but this method returns one number: use Mean or Sum.");
    }

    /// <summary>One loss per row, and what belongs to it, is for reduction None; the scalars are for Mean and Sum.</summary>
    public static void CheckReduction(LossReduction reduction, bool hasLosses, bool hasGradLosses, bool hasGradLoss)
    {
        if (reduction == LossReduction.None)
        {
            if (hasGradLoss)
                throw new ArgumentException(
                    "GradLoss is set, but options.Reduction is None: set GradLosses, one per row.", "GradLoss");
            return;
        }
        if (hasLosses) RefuseRows("Losses", reduction, "the result has the loss");
        if (hasGradLosses) RefuseRows("GradLosses", reduction, "set GradLoss");
    }

    private static void RefuseRows(string name, LossReduction reduction, string instead) =>
        throw new ArgumentException(
            $"{name} is set, but options.Reduction is {reduction}: {instead}, or use LossReduction.None.", name);
}
