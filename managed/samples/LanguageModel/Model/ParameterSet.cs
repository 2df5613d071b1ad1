using System.Numerics.Tensors;
using FusedKernels;
using LanguageModel.Training;

namespace LanguageModel.Model;

/// <summary>All parameters of a model, in a fixed order.</summary>
internal sealed class ParameterSet
{
    private const float Beta1 = 0.9f;
    private const float Beta2 = 0.95f;
    private const float WeightDecay = 0.1f;
    private const float LargestGradientNorm = 1;

    private readonly List<Parameter> _parameters = [];

    public IReadOnlyList<Parameter> Items => _parameters;

    public long Count => _parameters.Sum(parameter => (long)parameter.Count);

    public Parameter Add(string name, int rows, int columns, float initialDeviation)
    {
        Parameter parameter = new(name, rows, columns, initialDeviation);
        _parameters.Add(parameter);
        return parameter;
    }

    public void Reset(ulong seed)
    {
        for (int i = 0; i < _parameters.Count; i++)
        {
            RandomNumbers random = new(seed, RandomStream.Parameters + (ulong)i);
            _parameters[i].Reset(ref random);
        }
    }

    /// <summary>One AdamW update, with the gradients scaled down where their common norm is above 1.</summary>
    /// <param name="context">Runs the update.</param>
    /// <param name="learningRate">Of this step.</param>
    /// <param name="step">Counts from 1.</param>
    public void Update(FusedContext context, float learningRate, int step)
    {
        float norm = GradientNorm();
        float scale = norm > LargestGradientNorm ? LargestGradientNorm / norm : 1;
        foreach (Parameter parameter in _parameters)
        {
            AdamWOptions options = new()
            {
                LearningRate = learningRate,
                Beta1 = Beta1,
                Beta2 = Beta2,
                WeightDecay = parameter.IsMatrix ? WeightDecay : 0,
                GradientScale = scale,
                Step = step,
            };
            AdamW.Step(context, parameter.Value.Data, parameter.Gradient.Data, parameter.FirstMoment, parameter.SecondMoment, options);
        }
    }

    private float GradientNorm()
    {
        double squares = 0;
        foreach (Parameter parameter in _parameters)
        {
            squares += TensorPrimitives.SumOfSquares<float>(parameter.Gradient.Data);
        }

        return (float)Math.Sqrt(squares);
    }
}
