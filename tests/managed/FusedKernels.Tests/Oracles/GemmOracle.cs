namespace FusedKernels.Tests.Oracles;

internal static class GemmOracle
{
    public static Value Element(TestMatrix a, TestMatrix b, TestMatrix c, GemmOptions options, int row, int column)
    {
        int depth = options.TransposeA ? a.Rows : a.Columns;
        Value product = default;
        for (int k = 0; k < depth; k++)
        {
            double left = options.TransposeA ? a[k, row] : a[row, k];
            double right = options.TransposeB ? b[column, k] : b[k, column];
            product += Value.Term(left * right);
        }
        Value before = options.Beta == 0 ? default : Value.Term((double)options.Beta * c[row, column]);
        return (double)options.Alpha * product + before;
    }
}
