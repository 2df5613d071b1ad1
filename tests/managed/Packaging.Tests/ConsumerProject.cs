namespace FusedKernels.Packaging.Tests;

/// <summary>A console project as a user would start it, with the package from the local feed as its one reference.</summary>
internal sealed class ConsumerProject
{
    // One for all consumers of a run and none of an earlier one: NuGet never looks again at a version that it has unpacked.
    private static readonly Lazy<string> PackagesFolder = new(() => TemporaryFolder.Create("packages"));

    private readonly string _folder = TemporaryFolder.Create("consumer");

    public ConsumerProject(string program)
    {
        Write("Program.cs", program);
        Write("Consumer.csproj", $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <InvariantGlobalization>true</InvariantGlobalization>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                <WarningsNotAsErrors>NU1900;NU1901;NU1902;NU1903;NU1904</WarningsNotAsErrors>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="FusedKernels" Version="[{Package.Version}]" />
              </ItemGroup>
            </Project>
            """);
        Write("NuGet.config", $"""
            <configuration>
              <config>
                <add key="globalPackagesFolder" value="{PackagesFolder.Value}" />
              </config>
              <packageSources>
                <add key="local" value="{Package.Feed}" />
              </packageSources>
            </configuration>
            """);
    }

    /// <summary>Runs <c>dotnet publish</c> with these arguments and returns the new folder that it wrote.</summary>
    public string Publish(params string[] arguments)
    {
        string output = TemporaryFolder.Create("published");
        Tool.Run("dotnet", _folder, ["publish", "--output", output, .. arguments]);
        return output;
    }

    /// <summary>Runs the published program; what it printed and how it ended.</summary>
    public static Tool.Result Start(string published) => Tool.Start(Path.Combine(published, "Consumer"), published);

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);
}
