using System.Buffers.Binary;
using System.Text;

namespace FusedKernels.Packaging.Tests;

/// <summary>
/// What the dynamic loader sees of a 64-bit little-endian ELF shared library: the libraries it asks for, the symbol versions it
/// needs of them, and the symbols it offers. Layouts are those of the System V ABI and of the Linux Standard Base.
/// </summary>
internal sealed class ElfImage
{
    private const uint SectionSymbolTable = 2;
    private const uint SectionDynamic = 6;
    private const uint SectionDynamicSymbols = 11;
    private const uint SectionVersionNeeds = 0x6ffffffe;
    private const long TagNeeded = 1;
    private const long TagRunPath = 29;
    private const long TagRPath = 15;

    private readonly byte[] _file;
    private readonly List<Section> _sections = [];

    private readonly record struct Section(uint Type, long Offset, long Size, int Link);

    public ElfImage(string path)
    {
        _file = File.ReadAllBytes(path);
        if (!_file.AsSpan(0, 6).SequenceEqual<byte>([0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1]))
        {
            throw new InvalidDataException($"{path} is not a 64-bit little-endian ELF file.");
        }

        long headers = Int64(40);
        int entrySize = UInt16(58);
        int count = UInt16(60);
        for (int i = 0; i < count; i++)
        {
            long at = headers + (i * entrySize);
            _sections.Add(new Section((uint)Int32(at + 4), Int64(at + 24), Int64(at + 32), Int32(at + 40)));
        }
    }

    /// <summary>The libraries that must be present for this one to load (DT_NEEDED).</summary>
    public IReadOnlyList<string> Needed => [.. DynamicStrings(TagNeeded)];

    /// <summary>Folders of the build machine that the loader would search (DT_RPATH, DT_RUNPATH).</summary>
    public IReadOnlyList<string> SearchPaths => [.. DynamicStrings(TagRPath), .. DynamicStrings(TagRunPath)];

    /// <summary>True when the full symbol table, which only a debugger needs, is still there.</summary>
    public bool HasSymbolTable => _sections.Any(section => section.Type == SectionSymbolTable);

    /// <summary>Every symbol that another module could bind to.</summary>
    public IReadOnlyList<string> ExportedSymbols
    {
        get
        {
            const int entrySize = 24;
            List<string> names = [];
            Section table = Single(SectionDynamicSymbols);
            for (long at = table.Offset; at < table.Offset + table.Size; at += entrySize)
            {
                bool local = _file[at + 4] >> 4 == 0;
                bool undefined = UInt16(at + 6) == 0;
                if (!local && !undefined)
                {
                    names.Add(Text(table.Link, Int32(at)));
                }
            }

            return names;
        }
    }

    /// <summary>The symbol versions that the undefined symbols ask for, such as GLIBC_2.34.</summary>
    public IReadOnlyList<string> RequiredVersions
    {
        get
        {
            List<string> versions = [];
            Section needs = Single(SectionVersionNeeds);
            for (long library = needs.Offset, next = 1; next != 0; library += next)
            {
                int count = UInt16(library + 2);
                long version = library + Int32(library + 8);
                for (int i = 0; i < count; i++)
                {
                    versions.Add(Text(needs.Link, Int32(version + 8)));
                    version += Int32(version + 12);
                }

                next = Int32(library + 12);
            }

            return versions;
        }
    }

    /// <summary>The highest version that is asked for under a prefix such as "GLIBC_".</summary>
    public Version HighestVersion(string prefix) =>
        RequiredVersions.Where(name => name.StartsWith(prefix, StringComparison.Ordinal))
            .Select(name => Version.Parse(name[prefix.Length..]))
            .Max() ?? throw new InvalidDataException($"No symbol asks for a {prefix} version.");

    private IEnumerable<string> DynamicStrings(long tag)
    {
        const int entrySize = 16;
        Section dynamic = Single(SectionDynamic);
        for (long at = dynamic.Offset; at < dynamic.Offset + dynamic.Size; at += entrySize)
        {
            if (Int64(at) == tag)
            {
                yield return Text(dynamic.Link, Int64(at + 8));
            }
        }
    }

    private Section Single(uint type) => _sections.Single(section => section.Type == type);

    private string Text(int stringTable, long offset)
    {
        ReadOnlySpan<byte> from = _file.AsSpan((int)(_sections[stringTable].Offset + offset));
        return Encoding.UTF8.GetString(from[..from.IndexOf((byte)0)]);
    }

    private ushort UInt16(long at) => BinaryPrimitives.ReadUInt16LittleEndian(_file.AsSpan((int)at));

    private int Int32(long at) => BinaryPrimitives.ReadInt32LittleEndian(_file.AsSpan((int)at));

    private long Int64(long at) => BinaryPrimitives.ReadInt64LittleEndian(_file.AsSpan((int)at));
}
