using System.Numerics.Tensors;

namespace FusedKernels.Tests;

/// <summary>A call allocates nothing on the managed heap.</summary>
[TestClass, DoNotParallelize]
public sealed class AllocationTests
{
    private const int Calls = 1000;

    private readonly TestMatrix _square = TestMatrix.Random(4, 4, 1), _other = TestMatrix.Random(4, 4, 2);
    private readonly TestMatrix _output = new(4, 4), _gradient = new(4, 4), _otherGradient = new(4, 4);
    private readonly float[] _vector = new float[4], _otherVector = new float[4], _inverseRms = [1, 1, 1, 1];
    private readonly float[] _storage = new float[64], _outputStorage = new float[64];
    private readonly float[] _dQ = new float[64], _dK = new float[64], _dV = new float[64];
    private readonly float[] _logSumExp = new float[16], _secondMoment = new float[4];
    private readonly int[] _indices = [0, 1, 2, 3];
    private readonly int[,] _tokens = new int[4, 2];
    private readonly Half[,] _half = new Half[4, 4];
    private readonly float[,] _partials = new float[3, 4];
    private readonly nint[] _shape = [2, 4, 2, 4], _maskShape = [2, 2, 4, 4], _logSumExpShape = [2, 2, 4];
    private readonly nint[] _partsShape = [2, 1, 4, 2, 4], _partShape = [1, 4, 2, 4], _partsLogSumExpShape = [2, 1, 2, 4];
    private readonly BFloat16[,,,] _bFloat16Heads = new BFloat16[2, 4, 2, 4];
    private readonly Half[,,,] _halfHeads = new Half[2, 4, 2, 4];
    private readonly nint[] _segmentShape = [2, 4], _segmentStrides = [0, 1];
    private readonly bool[] _mask = new bool[64];
    private readonly int[] _lengths = [3, 4];
    private readonly float[] _sinks = new float[2], _dSinks = new float[2];

    [TestMethod]
    public void OperatorsAllocateNothing()
    {
        using FusedContext context = FusedContext.Cpu(threads: 2);
        AssertAllocatesNothing("Gemm", () => Gemm.Multiply(context, _square.Span, _other.Span, _output.Span));
        AssertAllocatesNothing("CutCrossEntropy", () =>
        {
            CutCrossEntropy.Forward(context, _square.Span, _other.Span, _indices, default, _vector);
            CutCrossEntropy.Backward(
                context, _square.Span, _other.Span, _indices, _vector, _gradient.Span, _otherGradient.Span);
            CutCrossEntropy.LossAndGradient(
                context, _square.Span, _other.Span, _indices, _gradient.Span, _otherGradient.Span);
        });
        AssertAllocatesNothing("CutCrossEntropy with everything", () => CutCrossEntropy.LossAndGradient(
            context,
            new CutCrossEntropyTensors
            {
                Embeddings = _square.Span, Classifier = _half, Targets = _indices, SequenceLength = 2, Bias = _vector,
                RowWeights = _inverseRms, LogSumExp = _otherVector, Losses = _secondMoment, TopTokens = _tokens,
                DEmbeddings = _gradient.Span, DClassifier = _otherGradient.Span, WantAccuracy = true, WantDLogitScale = true,
                WantFilterReport = true,
            },
            new CutCrossEntropyOptions { Reduction = LossReduction.None, Softcap = 5, FilterDEmbeddings = 0.1f }));
        AssertAllocatesNothing("Partial and Merge", () =>
        {
            CutCrossEntropyTensors tensors = new()
            {
                Embeddings = _square.Span, Classifier = _other.Span, Targets = _indices,
            };
            CutCrossEntropy.Partial(
                context, tensors, _partials.GetRowSpan(0), _partials.GetRowSpan(1), _partials.GetRowSpan(2),
                new CutCrossEntropyOptions { VocabularySize = 4 });
            Span2D<float> all = _partials;
            CutCrossEntropy.Merge(
                context, all.Slice(0, 0, 1, 4), all.Slice(1, 0, 1, 4), all.Slice(2, 0, 1, 4), _otherVector, _secondMoment);
        });
        AssertAllocatesNothing("Distillation", () =>
        {
            DistillationTensors tensors = new()
            {
                StudentEmbeddings = _square.Span, StudentClassifier = _other.Span, TeacherEmbeddings = _square.Span,
                TeacherClassifier = _half, StudentLogSumExp = _vector, TeacherLogSumExp = _otherVector,
            };
            Distillation.Forward(context, tensors);
            tensors.DStudentEmbeddings = _gradient.Span;
            Distillation.Backward(context, tensors);
        });
        AssertAllocatesNothing("SoftmaxCrossEntropy", () =>
            SoftmaxCrossEntropy.LossAndGradient(context, _gradient.Span, _indices));
        AssertAllocatesNothing("Attention", () =>
        {
            ReadOnlyTensorSpan<float> q = new(_storage, _shape);
            TensorSpan<float> output = new(_outputStorage, _shape);
            Attention.Forward(context, q, q, q, output, default, _logSumExp);
            Attention.Backward(
                context, q, q, q, output, _logSumExp, q, new TensorSpan<float>(_dQ, _shape), new TensorSpan<float>(_dK, _shape),
                new TensorSpan<float>(_dV, _shape));
        });
        AssertAllocatesNothing("Attention with many arrays", () =>
        {
            AttentionTensors tensors = new()
            {
                Q = new ReadOnlyTensorSpan<float>(_storage, _shape), K = _bFloat16Heads, V = _halfHeads,
                KeyLengths = _lengths, QuerySegments = new(_indices, 0, _segmentShape, _segmentStrides),
                KeySegments = new(_indices, 0, _segmentShape, _segmentStrides),
                Mask = new ReadOnlyTensorSpan<bool>(_mask, _maskShape), Bias = new(_storage, _maskShape), Sinks = _sinks,
                Output = new TensorSpan<float>(_outputStorage, _shape), LogSumExp = new(_logSumExp, _logSumExpShape),
            };
            Attention.Forward(context, tensors, AttentionOptions.Causal);
            Attention.WorkspaceSize(context, tensors);
            tensors.DOutput = _halfHeads;
            tensors.DQ = new TensorSpan<float>(_dQ, _shape);
            tensors.DBias = new(_dK, _maskShape);
            tensors.DSinks = _dSinks;
            Attention.Backward(context, tensors, AttentionOptions.Causal);
        });
        AssertAllocatesNothing("Attention.Merge", () => Attention.Merge(
            context, new(_storage, _partsShape), new(_logSumExp, _partsLogSumExpShape),
            new TensorSpan<float>(_dQ, _partShape)));
        KvCache cache = KvCache.Contiguous(batch: 2, capacity: 8, kvHeads: 2, headDim: 4, valueDim: 4, KvPrecision.Int8);
        AssertAllocatesNothing("KvCache", () =>
        {
            ReadOnlyTensorSpan<float> tokens = new(_storage, _shape);
            cache.Clear();
            cache.Append(context, tokens, tokens);
            cache.Attend(context, tokens, tokens, tokens, new TensorSpan<float>(_outputStorage, _shape));
            cache.CopySequence(context, 0, 1);
        });
        AssertAllocatesNothing("RmsNorm", () =>
        {
            RmsNorm.Forward(context, _square.Span, _vector, _output.Span, default, _inverseRms);
            RmsNorm.Backward(
                context, _square.Span, _vector, _inverseRms, _other.Span, _gradient.Span, _otherVector);
        });
        AssertAllocatesNothing("SwiGlu", () =>
        {
            SwiGlu.Forward(context, _square.Span, _other.Span, _output.Span);
            SwiGlu.Backward(
                context, _square.Span, _other.Span, _output.Span, _gradient.Span, _otherGradient.Span);
        });
        AssertAllocatesNothing("RotaryEmbedding", () => RotaryEmbedding.Apply(
            context, new ReadOnlyTensorSpan<float>(_storage, _shape), new TensorSpan<float>(_outputStorage, _shape), default,
            _indices));
        AssertAllocatesNothing("TokenEmbedding", () =>
        {
            TokenEmbedding.Gather(context, _square.Span, _indices, _output.Span);
            TokenEmbedding.ScatterAdd(context, _other.Span, _indices, _gradient.Span);
        });
        AssertAllocatesNothing("AdamW", () => AdamW.Step(
            context, _vector, _otherVector, _inverseRms, _secondMoment, new AdamWOptions { Step = 1 }));
    }

    [TestMethod]
    public void ContextPropertiesAllocateNothing()
    {
        using FusedContext context = FusedContext.Cpu(threads: 1);
        AssertAllocatesNothing("WorkspaceBytes", () => _ = context.WorkspaceBytes);
    }

    private static void AssertAllocatesNothing(string what, Action call)
    {
        for (int i = 0; i < 100; i++) call(); // compile, and let the workspace grow
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < Calls; i++) call();
        Assert.AreEqual(0, GC.GetAllocatedBytesForCurrentThread() - before, $"bytes allocated in {Calls} calls of {what}");
    }
}
