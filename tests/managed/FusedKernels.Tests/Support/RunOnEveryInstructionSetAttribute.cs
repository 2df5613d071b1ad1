namespace FusedKernels.Tests.Support;

/// <summary>Marks a test class that <see cref="InstructionSetTests"/> also runs in a child process for each forced
/// instruction set.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class RunOnEveryInstructionSetAttribute : Attribute;
