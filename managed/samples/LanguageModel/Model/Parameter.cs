using LanguageModel.Training;

namespace LanguageModel.Model;

/// <summary>A trained matrix (a vector is a matrix of one row) with its gradient and AdamW's two moments.</summary>
internal sealed class Parameter
{
    private readonly float _initialDeviation;

    /// <param name="name">Unique within the model.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="initialDeviation">Standard deviation of the initial values around 0; 0 makes them all 1.</param>
    public Parameter(string name, int rows, int columns, float initialDeviation)
    {
        Name = name;
        Value = new Matrix(rows, columns);
        Gradient = new Matrix(rows, columns);
        FirstMoment = new float[Value.Data.Length];
        SecondMoment = new float[Value.Data.Length];
        _initialDeviation = initialDeviation;
    }

    public string Name { get; }

    public Matrix Value { get; }

    public Matrix Gradient { get; }

    public float[] FirstMoment { get; }

    public float[] SecondMoment { get; }

    public int Count => Value.Data.Length;

    /// <summary>Weight decay shrinks matrices and leaves normalisation gains alone.</summary>
    public bool IsMatrix => Value.Rows > 1;

    /// <summary>Puts the initial values back, with no memory of earlier steps.</summary>
    public void Reset(ref RandomNumbers random)
    {
        foreach (ref float value in Value.Data.AsSpan())
        {
            value = _initialDeviation == 0 ? 1 : (float)(_initialDeviation * random.NextGaussian());
        }

        FirstMoment.AsSpan().Clear();
        SecondMoment.AsSpan().Clear();
    }
}
