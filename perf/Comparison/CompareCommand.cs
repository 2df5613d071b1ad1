using System.CommandLine;
using FusedKernels.Perf.Peers;
using Spectre.Console;

namespace FusedKernels.Perf.Comparison;

/// <summary>The verb <c>compare</c>: measures side by side in one run and reports the figures.</summary>
internal static class CompareCommand
{
    /// <summary>The verb with its options.</summary>
    public static Command Create()
    {
        Option<string> filter = new("--filter")
        {
            Description = "Only the workloads whose name contains TEXT.",
            HelpName = "TEXT",
        };
        Option<FileInfo> json = new("--json")
        {
            Description = "Also write the figures to FILE as JSON.",
            HelpName = "FILE",
        };
        Option<FileInfo> plot = new("--plot")
        {
            Description = "Also draw the shares of the machine's limit to FILE as SVG.",
            HelpName = "FILE",
        };
        Option<int> threads = ThreadsOption();
        Option<string> peers = new("--peers")
        {
            Description = "Folder with the run.sh that runs the peers. "
                + $"Default: {PeerSet.EnvironmentVariable}, or ../shared/peers beside the repository.",
            HelpName = "DIR",
        };
        Option<bool> noPeers = new("--no-peers") { Description = "Measure without peers." };
        Option<bool> quick = new("--quick")
        {
            Description = "One short repetition: shows that everything works, the figures mean little.",
        };
        Option<bool> list = new("--list") { Description = "Only list the names." };
        const string description =
            "Measures side by side: the operators, the machine's limits and, where they are set up, the peers.";
        Command command = new("compare", description)
        {
            filter, json, plot, threads, peers, noPeers, quick, list,
        };
        command.SetAction(result => PrintingErrors(() =>
        {
            IReadOnlyList<Workload> workloads = Workloads.Matching(result.GetValue(filter));
            if (result.GetValue(list))
            {
                foreach (Workload workload in workloads)
                {
                    Console.WriteLine(workload.Name);
                }

                return 0;
            }

            CompareSettings settings = result.GetValue(quick) ? CompareSettings.Quick : CompareSettings.Full;
            IAnsiConsole progress = Terminal(Console.Error, Console.IsErrorRedirected);
            (List<Measurement> measurements, List<string> failures) = Measure(
                workloads, settings, result.GetValue(threads), result.GetValue(peers), !result.GetValue(noPeers), progress);
            ComparisonTable.Write(Terminal(Console.Out, Console.IsOutputRedirected), measurements);
            WriteFile(result.GetValue(json), Measurement.ToJson(measurements));
            WriteFile(result.GetValue(plot), ComparisonPlot.ToSvg(measurements));
            failures.ForEach(Console.Error.WriteLine);
            return failures.Count == 0 ? 0 : 1;
        }));
        return command;
    }

    /// <summary>The number of threads, for every verb that makes a context.</summary>
    public static Option<int> ThreadsOption() =>
        new("--threads")
        {
            Description = "Threads of the library, the machine's loops and the peers. Default: all processors.",
            HelpName = "N",
        };

    // A workload that fails does not take the others' figures with it.
    private static (List<Measurement> Measurements, List<string> Failures) Measure(
        IReadOnlyList<Workload> workloads,
        CompareSettings settings,
        int threads,
        string? peersFolder,
        bool withPeers,
        IAnsiConsole console)
    {
        List<Measurement> measurements = [];
        List<string> notes = [], failures = [];
        console.Progress().Start(progress =>
        {
            ProgressTask start = progress.AddTask("starting", maxValue: 1);
            using ComparisonSession session = new(settings, threads) { Note = notes.Add };
            if (withPeers)
            {
                session.StartPeers(peersFolder);
            }

            start.Increment(1);
            ProgressTask[] tasks =
                [.. workloads.Select(w => progress.AddTask(Markup.Escape(w.Name), false, w.Steps(session)))];
            foreach ((Workload workload, ProgressTask task) in workloads.Zip(tasks))
            {
                task.StartTask();
                session.Step = () => task.Increment(1);
                try
                {
                    measurements.AddRange(workload.Measure(session));
                }
                catch (Exception exception) when (exception is not OutOfMemoryException)
                {
                    failures.Add($"{workload.Name} failed: {exception.Message}");
                }

                GC.Collect(); // the arguments of the next workload take the place of this one's
            }
        });
        notes.ForEach(note => console.WriteLine(note));
        return (measurements, failures);
    }

    // What the user can put right is told in one line, without a stack trace.
    private static int PrintingErrors(Func<int> action)
    {
        try
        {
            return action();
        }
        catch (Exception exception) when (
            exception is PeerException or ArgumentException or FusedKernelsLoadException or NotSupportedException)
        {
            Console.Error.WriteLine(exception.Message);
            return 1;
        }
    }

    private static IAnsiConsole Terminal(TextWriter writer, bool isRedirected)
    {
        const int widthInFiles = 200; // a file has no width of its own, and 80 columns would break every row
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = isRedirected ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = isRedirected ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
        });
        if (isRedirected) console.Profile.Width = widthInFiles;
        return console;
    }

    private static void WriteFile(FileInfo? file, string text)
    {
        if (file is not null)
        {
            file.Directory?.Create();
            File.WriteAllText(file.FullName, text);
        }
    }
}
