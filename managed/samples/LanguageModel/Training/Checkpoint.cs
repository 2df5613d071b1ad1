using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using LanguageModel.Data;
using LanguageModel.Model;

namespace LanguageModel.Training;

/// <summary>Stores a run so that it can go on with the same bits.</summary>
/// <remarks>
/// The file: magic, version (uint32), length of the header (uint32), header (JSON), then value, first and second moment of
/// every parameter as float32, then the SHA-256 of all before it. All numbers are little-endian.
/// </remarks>
internal sealed class Checkpoint
{
    private const uint Version = 2;

    /// <summary>Of runs without a window and with as many heads of keys and values as of queries: the header lacks both.</summary>
    private const uint OldestVersion = 1;

    private const int PrefixLength = 16;

    private readonly string _path;
    private readonly long _parametersStart;

    private Checkpoint(string path, CheckpointHeader header, long parametersStart)
    {
        _path = path;
        Header = header;
        _parametersStart = parametersStart;
    }

    public CheckpointHeader Header { get; }

    private static ReadOnlySpan<byte> Magic => "FKLMCKPT"u8;

    /// <summary>Whether the file starts as a checkpoint does; it may still be damaged.</summary>
    public static bool IsCheckpoint(string path)
    {
        using FileStream file = File.OpenRead(path);
        Span<byte> magic = stackalloc byte[Magic.Length];
        return file.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false) == magic.Length && magic.SequenceEqual(Magic);
    }

    /// <summary>Writes a temporary file in the same folder, flushes it to the disk and renames it: the path always holds a whole checkpoint.</summary>
    public static void Save(string path, CheckpointHeader header, ParameterSet parameters)
    {
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        try
        {
            using (FileStream file = new(temporary, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 1 << 20))
            {
                Write(file, header, parameters);
                file.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>Checks the whole file, and reads its header.</summary>
    /// <exception cref="UserException">There is no such file, or it is foreign, truncated or damaged.</exception>
    public static Checkpoint Open(string path)
    {
        if (!File.Exists(path))
        {
            throw new UserException($"There is no checkpoint '{path}'; --checkpoint FILE names another.");
        }

        using FileStream file = File.OpenRead(path);
        if (!IsCheckpoint(path))
        {
            throw new UserException($"'{path}' is not a checkpoint of this program. Nothing was changed.");
        }

        VerifyChecksum(file, path);
        file.Position = 0;
        Span<byte> prefix = stackalloc byte[PrefixLength];
        file.ReadExactly(prefix);
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(prefix[8..]);
        if (version is < OldestVersion or > Version)
        {
            throw new UserException(
                $"'{path}' is a checkpoint of format {version}, and this program reads formats {OldestVersion} to {Version}. "
                + "Nothing was changed.");
        }

        byte[] json = new byte[BinaryPrimitives.ReadUInt32LittleEndian(prefix[12..])];
        file.ReadExactly(json);
        CheckpointHeader header = JsonSerializer.Deserialize<CheckpointHeader>(json)!;
        return new Checkpoint(path, header, file.Position);
    }

    /// <summary>Refuses a text that is not the run's.</summary>
    public void RequireText(TextData text)
    {
        if (Header.TextFingerprint != text.Fingerprint)
        {
            throw new UserException($"The checkpoint '{_path}' belongs to another text. Nothing was changed.");
        }
    }

    /// <summary>Puts the stored values and moments into the parameters.</summary>
    public void Restore(ParameterSet parameters)
    {
        IEnumerable<CheckpointHeader.ParameterEntry> expected = Entries(parameters);
        if (!expected.SequenceEqual(Header.Parameters))
        {
            throw new UserException($"The parameters in '{_path}' are those of another model. Nothing was changed.");
        }

        using FileStream file = File.OpenRead(_path);
        file.Position = _parametersStart;
        foreach (Parameter parameter in parameters.Items)
        {
            file.ReadExactly(MemoryMarshal.AsBytes(parameter.Value.Data.AsSpan()));
            file.ReadExactly(MemoryMarshal.AsBytes(parameter.FirstMoment.AsSpan()));
            file.ReadExactly(MemoryMarshal.AsBytes(parameter.SecondMoment.AsSpan()));
        }
    }

    /// <summary>The header's list of the parameters.</summary>
    public static IReadOnlyList<CheckpointHeader.ParameterEntry> Entries(ParameterSet parameters) =>
        [.. parameters.Items.Select(parameter => new CheckpointHeader.ParameterEntry(parameter.Name, parameter.Count))];

    private static void Write(FileStream file, CheckpointHeader header, ParameterSet parameters)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(header);
        Span<byte> prefix = stackalloc byte[PrefixLength];
        Magic.CopyTo(prefix);
        BinaryPrimitives.WriteUInt32LittleEndian(prefix[8..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(prefix[12..], (uint)json.Length);
        Append(prefix);
        Append(json);
        foreach (Parameter parameter in parameters.Items)
        {
            Append(MemoryMarshal.AsBytes<float>(parameter.Value.Data));
            Append(MemoryMarshal.AsBytes<float>(parameter.FirstMoment));
            Append(MemoryMarshal.AsBytes<float>(parameter.SecondMoment));
        }

        file.Write(hash.GetHashAndReset());

        void Append(ReadOnlySpan<byte> bytes)
        {
            hash.AppendData(bytes);
            file.Write(bytes);
        }
    }

    private static void VerifyChecksum(FileStream file, string path)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = new byte[1 << 20];
        long left = file.Length - SHA256.HashSizeInBytes;
        while (left > 0)
        {
            int read = file.Read(buffer, 0, (int)Math.Min(left, buffer.Length));
            hash.AppendData(buffer, 0, read);
            left -= read;
        }

        Span<byte> stored = stackalloc byte[SHA256.HashSizeInBytes];
        bool whole = file.Length >= PrefixLength + SHA256.HashSizeInBytes && file.ReadAtLeast(stored, stored.Length, false) == stored.Length;
        if (!whole || !stored.SequenceEqual(hash.GetHashAndReset()))
        {
            throw new UserException($"The checkpoint '{path}' is truncated or damaged: its checksum does not match. Nothing was changed.");
        }
    }
}
