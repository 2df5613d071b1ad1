namespace FusedKernels.Tests.Support;

/// <summary>What an error's text must say.</summary>
internal static class Messages
{
    public static void AssertNames(Exception error, params string[] parts)
    {
        foreach (string part in parts)
            Assert.Contains(part, error.Message, $"The message does not name \"{part}\"");
    }
}
