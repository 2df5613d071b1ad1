namespace FusedKernels.Tests.Oracles;

/// <summary>A sum of <see cref="Bounded"/> terms in any order; see <see cref="Bounded.Sum"/>.</summary>
internal struct BoundedSum
{
    private double _value, _carried, _magnitude;
    private int _terms;

    public void Add(Bounded term)
    {
        _value += term.Value;
        _carried += term.Error;
        _magnitude += Math.Abs(term.Value) + term.Error;
        _terms++;
    }

    public readonly Bounded Total => new(_value, _carried + Near.Gamma(_terms + 8) * _magnitude);
}
