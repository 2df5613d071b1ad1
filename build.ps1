<#
.SYNOPSIS
Builds, tests, measures or packs FusedKernels.

.DESCRIPTION
A thin driver: every task is one dotnet command, which builds the native library through CMake by itself. Anything that a
task needs beyond that belongs in CMake or MSBuild, where it also works without PowerShell. The script stops at the first
error and then ends with a non-zero exit code.

.PARAMETER Task
build   compiles the native library and every managed project (default)
test    runs all tests, the native ones included
perf    measures the kernels side by side and prints one table
pack    writes the NuGet package to artifacts/

.PARAMETER Configuration
Release (default) or Debug. Only Release is worth measuring.

.EXAMPLE
./build.ps1

.EXAMPLE
./build.ps1 -Task test -Configuration Debug
#>
[CmdletBinding()]
param(
    [ValidateSet('build', 'test', 'perf', 'pack')]
    [string] $Task = 'build',

    [ValidateSet('Release', 'Debug')]
    [string] $Configuration = 'Release'
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Stop covers cmdlets alone: up to PowerShell 7.2 a failing program only sets $LASTEXITCODE. The arguments are an array
# because PowerShell itself would swallow a bare -- that is meant for the program.
function Invoke-DotNet([string[]] $Arguments) {
    & dotnet $Arguments
    if ($LASTEXITCODE -ne 0) {
        throw "dotnet $Arguments failed with exit code $LASTEXITCODE."
    }
}

Push-Location $PSScriptRoot
try {
    switch ($Task) {
        'build' { Invoke-DotNet 'build', 'Interop.sln', '-c', $Configuration }
        'test' { Invoke-DotNet 'test', 'Interop.sln', '-c', $Configuration }
        'perf' { Invoke-DotNet 'run', '-c', $Configuration, '--project', 'perf', '--', 'compare' }
        'pack' { Invoke-DotNet 'pack', 'managed/FusedKernels', '-c', $Configuration, '-o', 'artifacts' }
    }
}
finally {
    Pop-Location
}
