namespace FusedKernels.Tests;

[TestClass, DoNotParallelize]
public sealed class FusedContextTests
{
    [TestMethod]
    public void ThreadsAreWhatWasAskedFor()
    {
        using FusedContext three = FusedContext.Cpu(threads: 3), all = FusedContext.Cpu();
        Assert.AreEqual(3, three.Threads);
        Assert.AreEqual(Environment.ProcessorCount, all.Threads);
    }

    [TestMethod]
    public void ContextsShareThreads()
    {
        using FusedContext owner = FusedContext.Cpu(threads: 3);
        using FusedContext all = FusedContext.Cpu(owner), two = FusedContext.Cpu(owner, threads: 2);
        Assert.AreEqual(3, all.Threads);
        Assert.AreEqual(2, two.Threads);
        owner.Dispose();
        TestMatrix c = new(70, 80);
        Gemm.Multiply(two, TestMatrix.Random(70, 90, 1).Span, TestMatrix.Random(90, 80, 2).Span, c.Span);
        Assert.IsFalse(c.Elements().Any(float.IsNaN), "the threads outlive the context that made them");

        ArgumentException error = Assert.ThrowsExactly<ArgumentException>(() => FusedContext.Cpu(all, threads: 4));
        Messages.AssertNames(error, "threads", "4", "3");
    }

    [TestMethod]
    public void BadValuesAreRefused()
    {
        Messages.AssertNames(Assert.ThrowsExactly<ArgumentException>(() => FusedContext.Cpu(threads: -1)), "threads", "-1");
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => FusedContext.Cpu(workspaceLimit: -1));
        Assert.ThrowsExactly<ArgumentNullException>(() => FusedContext.Cpu(shareThreadsWith: null!));
        Assert.ThrowsExactly<ArgumentNullException>(() => Gemm.Multiply(null!, default, default, default));
    }

    [TestMethod]
    public void DisposedContextIsRefused()
    {
        FusedContext context = FusedContext.Cpu(threads: 1);
        context.Dispose();
        context.Dispose();
        ObjectDisposedException error = Assert.ThrowsExactly<ObjectDisposedException>(
            () => Gemm.Multiply(context, default, default, default));
        Assert.AreEqual(typeof(FusedContext).FullName, error.ObjectName);
        Assert.ThrowsExactly<ObjectDisposedException>(() => context.WorkspaceBytes);
        Assert.ThrowsExactly<ObjectDisposedException>(() => FusedContext.Cpu(context));
    }

    [TestMethod]
    public void WorkspaceIsKeptAndReleased()
    {
        using FusedContext context = FusedContext.Cpu(threads: 2);
        Assert.AreEqual(0, context.WorkspaceBytes);
        Gemm.Multiply(
            context, TestMatrix.Random(65, 129, 1).Span, TestMatrix.Random(129, 65, 2).Span, new TestMatrix(65, 65).Span);
        Assert.IsGreaterThan(0, context.WorkspaceBytes);
        context.ReleaseWorkspace();
        Assert.AreEqual(0, context.WorkspaceBytes);
    }

    [TestMethod]
    public void WorkspaceLimitIsKept()
    {
        using FusedContext context = FusedContext.Cpu(threads: 1, workspaceLimit: 64);
        TestMatrix c = TestMatrix.Random(65, 65, 3);
        int[] before = c.Bits();
        FusedKernelsException error = Assert.ThrowsExactly<FusedKernelsException>(() => Gemm.Multiply(
            context, TestMatrix.Random(65, 129, 1).Span, TestMatrix.Random(129, 65, 2).Span, c.Span));
        Assert.AreEqual(FusedKernelsStatus.WorkspaceLimit, error.Status);
        Messages.AssertNames(error, "workspace", "64");
        CollectionAssert.AreEqual(before, c.Bits(), "nothing was written");
    }

    [TestMethod]
    public void BuildInfoNamesTheInstructionSets()
    {
        Assert.Contains("FusedKernels", FusedContext.BuildInfo);
        Assert.Contains(FusedContext.InstructionSet, FusedContext.BuildInfo);
    }

    [TestMethod]
    public void TwoContextsWorkOnTwoThreadsAtOnce()
    {
        int[] expected = LongProduct.Run(LongProduct.Size.Short);
        Task<int[]>[] tasks =
        [
            .. Enumerable.Range(0, 2).Select(_ => Task.Factory.StartNew(
                () => LongProduct.Run(LongProduct.Size.Short, repeat: 20), TaskCreationOptions.LongRunning)),
        ];
        foreach (Task<int[]> task in tasks) CollectionAssert.AreEqual(expected, task.Result);
    }

    [TestMethod]
    public void OneContextOnTwoThreadsIsRefused()
    {
        using LongProduct product = new();
        Task running = product.Start();
        using CancellationTokenSource source = new();
        InvalidOperationException error = Assert.ThrowsExactly<InvalidOperationException>(() => Gemm.Multiply(
            product.Context, default, default, default, cancellationToken: source.Token));
        Messages.AssertNames(error, "in use by another thread", "shareThreadsWith");
        source.Cancel();
        Assert.ThrowsExactly<InvalidOperationException>(product.Context.ReleaseWorkspace);
        Assert.IsFalse(running.IsCompleted, "the refused call's token does not end the running call");
        product.Cancel();
        Assert.ThrowsExactly<OperationCanceledException>(() => running.GetAwaiter().GetResult());
    }

    [TestMethod]
    public void DisposalWaitsForTheRunningCall()
    {
        using LongProduct product = new();
        Task running = product.Start();
        product.Context.Dispose();
        Assert.IsFalse(running.IsCompleted);
        product.Cancel();
        Assert.ThrowsExactly<OperationCanceledException>(() => running.GetAwaiter().GetResult());
    }
}
