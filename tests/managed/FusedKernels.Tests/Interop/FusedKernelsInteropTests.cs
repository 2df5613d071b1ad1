using System.Runtime.InteropServices;
using FusedKernels.Interop;

namespace FusedKernels.Tests.Interop;

/// <summary>Raw tensors: memory that no span covers, and what the library says to a wrong description of it.</summary>
[TestClass]
public sealed unsafe class FusedKernelsInteropTests
{
    [TestMethod]
    public void NativeMemoryWithStridesAndOffsetWorks()
    {
        using FusedContext context = FusedContext.Cpu(threads: 1);
        float* memory = (float*)NativeMemory.Alloc(16, sizeof(float));
        try
        {
            for (int i = 0; i < 16; i++) memory[i] = i;
            // a is [2, 3] with columns apart (a transposed view), after 1 element; b is [3, 1]; c is [2, 1].
            long* aShape = stackalloc long[] { 2, 3 }, aStrides = stackalloc long[] { 1, 2 };
            long* bShape = stackalloc long[] { 3, 1 }, cShape = stackalloc long[] { 2, 1 };
            DLTensor a = Describe(memory, 2, aShape, aStrides, byteOffset: sizeof(float));
            DLTensor b = Describe(memory + 8, 2, bShape), c = Describe(memory + 12, 2, cShape);
            FusedKernelsInterop.Gemm(context, &a, &b, &c, new GemmOptions { Alpha = 2 });
            // [1 3 5; 2 4 6] * [8 9 10], twice.
            Assert.AreEqual(2f * (8 + 27 + 50), memory[12]);
            Assert.AreEqual(2f * (16 + 36 + 60), memory[13]);
            Assert.AreEqual(14f, memory[14]);
        }
        finally
        {
            NativeMemory.Free(memory);
        }
    }

    [TestMethod]
    public void LeadingAxesAreFlattened()
    {
        using FusedContext context = FusedContext.Cpu(threads: 1);
        TestMatrix embeddings = TestMatrix.Random(6, 5, 1), classifier = TestMatrix.Random(7, 5, 2);
        float[] packed = [.. embeddings.Elements()], classes = [.. classifier.Elements()];
        int[] targets = [0, 6, 3, 2, 5, 1];
        float expected = CutCrossEntropy.Forward(context, embeddings.Span, classifier.Span, targets), loss;
        fixed (float* embeddingsData = packed, classifierData = classes)
        fixed (int* targetsData = targets)
        {
            long* eShape = stackalloc long[] { 2, 3, 5 }, cShape = stackalloc long[] { 7, 5 };
            DLTensor e = Describe(embeddingsData, 3, eShape), c = Describe(classifierData, 2, cShape);
            DLTensor t = Describe(targetsData, 2, eShape) with { DataType = DLDataType.Int32 };
            DLTensor l = Describe(&loss, 0, null);
            CutCrossEntropyTensorPointers tensors = new() { Embeddings = &e, Classifier = &c, Targets = &t, Loss = &l };
            FusedKernelsInterop.CutCrossEntropyForward(context, tensors);
        }
        Assert.AreEqual(expected, loss);
    }

    [TestMethod]
    public void WorkspaceSizesAreWhatCallsTake()
    {
        using FusedContext context = FusedContext.Cpu(threads: 2);
        float[] storage = new float[200 * 64], classes = new float[300 * 64], output = new float[200 * 300];
        int[] targets = new int[200];
        fixed (float* embeddingsData = storage, classifierData = classes, outputData = output)
        fixed (float* dEmbeddingsData = new float[storage.Length], dClassifierData = new float[classes.Length])
        fixed (int* targetsData = targets)
        {
            long* eShape = stackalloc long[] { 200, 64 }, cShape = stackalloc long[] { 300, 64 };
            long* oShape = stackalloc long[] { 200, 300 };
            DLTensor e = Describe(embeddingsData, 2, eShape), c = Describe(classifierData, 2, cShape);
            DLTensor o = Describe(outputData, 2, oShape);
            DLTensor dE = Describe(dEmbeddingsData, 2, eShape), dC = Describe(dClassifierData, 2, cShape);
            GemmOptions transposed = new() { TransposeB = true };
            long gemm = FusedKernelsInterop.GemmWorkspaceSize(context, &e, &c, &o, transposed);
            DLTensor t = Describe(targetsData, 1, eShape) with { DataType = DLDataType.Int32 };
            CutCrossEntropyTensorPointers tensors = new()
            {
                Embeddings = &e, Classifier = &c, Targets = &t, DEmbeddings = &dE, DClassifier = &dC,
            };
            (long forward, long backward, long both) = FusedKernelsInterop.CutCrossEntropyWorkspaceSize(context, tensors);

            FusedKernelsInterop.Gemm(context, &e, &c, &o, transposed);
            Assert.IsLessThanOrEqualTo(gemm, context.WorkspaceBytes);
            context.ReleaseWorkspace();
            CutCrossEntropy.Forward(
                context, new ReadOnlySpan2D<float>(storage, 200, 64), new ReadOnlySpan2D<float>(classes, 300, 64), targets);
            Assert.IsLessThanOrEqualTo(forward, context.WorkspaceBytes);
            Assert.IsTrue(forward > 0 && backward > 0 && both > 0);
            // Calls say no below the size that the query gave, and work at it.
            using FusedContext exact = FusedContext.Cpu(threads: 2, workspaceLimit: forward);
            CutCrossEntropy.Forward(
                exact, new ReadOnlySpan2D<float>(storage, 200, 64), new ReadOnlySpan2D<float>(classes, 300, 64), targets);
        }
    }

    [TestMethod]
    public void AttentionOnRawTensorsIsAttention()
    {
        using FusedContext context = FusedContext.Cpu(threads: 2);
        AttentionProblem problem = new(1, 65, 65, 2, 2, 16, 16);
        float[] output = new float[65 * 32], logSumExp = new float[130], dQ = new float[65 * 32];
        problem.Forward(context);
        problem.Backward(context);
        fixed (float* qData = problem.Q.Span, kData = problem.K.Span, vData = problem.V.Span, dOutputData = problem.DOutput.Span)
        fixed (float* outputData = output, logSumExpData = logSumExp, dQData = dQ)
        {
            long* shape = stackalloc long[] { 1, 65, 2, 16 }, rows = stackalloc long[] { 1, 2, 65 };
            DLTensor q = Describe(qData, 4, shape), k = Describe(kData, 4, shape), v = Describe(vData, 4, shape);
            DLTensor o = Describe(outputData, 4, shape), l = Describe(logSumExpData, 3, rows);
            DLTensor dO = Describe(dOutputData, 4, shape), d = Describe(dQData, 4, shape);
            AttentionTensorPointers tensors = new() { Q = &q, K = &k, V = &v, Output = &o, LogSumExp = &l };
            FusedKernelsInterop.AttentionForward(context, tensors);
            tensors.DOutput = &dO;
            tensors.DQ = &d;
            FusedKernelsInterop.AttentionBackward(context, tensors);
        }
        Assert.IsTrue(problem.Output.Bits().SequenceEqual(output.Select(BitConverter.SingleToInt32Bits)));
        Assert.IsTrue(problem.DQ.Bits().SequenceEqual(dQ.Select(BitConverter.SingleToInt32Bits)));
    }

    [TestMethod]
    public void WrongDescriptionsAreNamed()
    {
        using FusedContext context = FusedContext.Cpu(threads: 1);
        float* memory = stackalloc float[8];
        long* shape = stackalloc long[] { 2, 2 }, huge = stackalloc long[] { long.MaxValue / 2, 4 };
        DLTensor good = Describe(memory, 2, shape), output = Describe(memory + 4, 2, shape);

        void AssertRefused(DLTensor a, params string[] parts)
        {
            ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => Multiply(context, a, good, output));
            Messages.AssertNames(error, [.. parts, "a:"]);
        }

        AssertRefused(good with { Data = null }, "data", "NULL");
        AssertRefused(good with { DataType = DLDataType.Int32 }, "int32", "float32");
        AssertRefused(good with { Rank = 1 }, "[M, K]");
        AssertRefused(good with { Rank = -1 }, "ndim", "-1");
        AssertRefused(good with { Shape = null }, "shape", "NULL");
        AssertRefused(good with { Shape = huge });
        AssertRefused(good with { Device = new DLDevice(DLDeviceType.Cuda, 0) }, "device");
        AssertRefused(good with { ByteOffset = 2 }, "byte_offset", "multiple of the element's 4 bytes");

        Messages.AssertNames(
            Assert.ThrowsExactly<ArgumentException>(() => FusedKernelsInterop.Gemm(context, null, null, null)), "a", "NULL");
    }

    private static void Multiply(FusedContext context, DLTensor a, DLTensor b, DLTensor c) =>
        FusedKernelsInterop.Gemm(context, &a, &b, &c);

    private static DLTensor Describe(void* data, int rank, long* shape, long* strides = null, ulong byteOffset = 0) => new()
    {
        Data = data,
        Device = new DLDevice(DLDeviceType.Cpu, 0),
        Rank = rank,
        DataType = DLDataType.Float32,
        Shape = shape,
        Strides = strides,
        ByteOffset = byteOffset,
    };
}
