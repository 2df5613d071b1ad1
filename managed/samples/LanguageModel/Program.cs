using System.CommandLine;
using FusedKernels;
using LanguageModel;
using LanguageModel.Generation;

try
{
    return CommandLine.Create(options => new Application(options).Run(), options => new GenerationRun(options).Run()).Parse(args).Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (Exception error) when (error is UserException or FusedKernelsException or FusedKernelsLoadException or IOException or UnauthorizedAccessException)
{
    Console.Error.WriteLine(error.Message);
    return 1;
}
