using System.Reflection;

namespace FusedKernels.Tests.Support;

/// <summary>
/// The entry point of the test assembly when a test starts it as a process of its own, to see the library under another
/// environment. The test host itself does not come here.
/// </summary>
internal static class ChildProgram
{
    private static int Main(string[] arguments) => arguments switch
    {
        ["instruction-set"] => PrintInstructionSet(),
        ["operator-tests"] => RunOperatorTests(),
        _ => throw new ArgumentException($"Unknown arguments: {string.Join(' ', arguments)}"),
    };

    private static int PrintInstructionSet()
    {
        try
        {
            using FusedContext context = FusedContext.Cpu(threads: 1);
            Console.WriteLine(FusedContext.InstructionSet);
            return 0;
        }
        catch (Exception e)
        {
            Console.WriteLine($"{e.GetType().Name}: {e.Message}");
            return 1;
        }
    }

    /// <summary>Runs the classes marked <see cref="RunOnEveryInstructionSetAttribute"/>, and prints the instruction set and
    /// the number of tests, or the failures.</summary>
    private static int RunOperatorTests()
    {
        int passed = 0;
        List<string> failures = [];
        foreach (Type type in Assembly.GetExecutingAssembly().GetTypes())
        {
            if (type.GetCustomAttribute<RunOnEveryInstructionSetAttribute>() is null) continue;
            foreach (MethodInfo test in type.GetMethods())
            {
                if (test.GetCustomAttribute<BackendDataAttribute>() is not { } data) continue;
                foreach (object?[] row in data.GetData(test))
                {
                    try
                    {
                        test.Invoke(Activator.CreateInstance(type), row);
                        passed++;
                    }
                    catch (TargetInvocationException e)
                    {
                        failures.Add($"{type.Name}.{data.GetDisplayName(test, row)}: {e.InnerException!.Message}");
                    }
                }
            }
        }
        failures.ForEach(Console.WriteLine);
        Console.WriteLine($"{FusedContext.InstructionSet}: {passed} passed, {failures.Count} failed");
        return failures.Count == 0 ? 0 : 1;
    }
}
