using System.Globalization;
using System.Reflection;

namespace FusedKernels.Tests.Support;

/// <summary>Runs a test for every backend, and for every one of the given cases if there are any: the method takes the
/// backend's name and then the case.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class BackendDataAttribute(params object[] cases) : Attribute, ITestDataSource
{
    public IEnumerable<object?[]> GetData(MethodInfo methodInfo)
    {
        foreach (string backend in Backends.Names)
        {
            if (cases.Length == 0) yield return [backend];
            foreach (object value in cases) yield return [backend, value];
        }
    }

    public string GetDisplayName(MethodInfo methodInfo, object?[]? data) =>
        $"{methodInfo.Name} ({string.Join(", ", data!.Select(value => Convert.ToString(value, CultureInfo.InvariantCulture)))})";
}
