namespace LanguageModel.Training;

/// <summary>Which windows of the training stream a step learns from: a function of seed and step alone.</summary>
/// <remarks>
/// Every epoch cuts the stream into windows at a random offset and visits each window once, in random order, so that
/// resuming needs no state but the step.
/// </remarks>
internal sealed class BatchSampler
{
    private readonly int[] _stream;
    private readonly int _context;
    private readonly int _batch;
    private readonly ulong _seed;
    private readonly int[] _starts;
    private long _epoch = -1;

    public BatchSampler(int[] stream, int context, int batch, ulong seed)
    {
        // One window less than fit, so that every offset below the window length fits too.
        int windows = (stream.Length - 1) / context - 1;
        if (windows < 1)
        {
            throw new UserException(
                $"--context {context} needs at least {(2 * context) + 1} training tokens, and the text has {stream.Length}. "
                + "Give a shorter context or more text.");
        }

        _stream = stream;
        _context = context;
        _batch = batch;
        _seed = seed;
        _starts = new int[windows];
    }

    /// <summary>Tokens of one pass over the stream.</summary>
    public long TokensPerEpoch => (long)_starts.Length * _context;

    /// <summary>Fills inputs and targets, [batch x context] each, for a step that counts from 0.</summary>
    public void Fill(long step, Span<int> inputs, Span<int> targets)
    {
        for (int row = 0; row < _batch; row++)
        {
            int start = WindowStart((step * _batch) + row);
            _stream.AsSpan(start, _context).CopyTo(inputs[(row * _context)..]);
            _stream.AsSpan(start + 1, _context).CopyTo(targets[(row * _context)..]);
        }
    }

    private int WindowStart(long index)
    {
        (long epoch, long position) = Math.DivRem(index, _starts.Length);
        if (epoch != _epoch)
        {
            Shuffle(epoch);
        }

        return _starts[position];
    }

    private void Shuffle(long epoch)
    {
        RandomNumbers random = new(_seed, RandomStream.Data + (ulong)epoch);
        int offset = random.NextInt32(_context);
        for (int i = 0; i < _starts.Length; i++)
        {
            int other = random.NextInt32(i + 1);
            _starts[i] = _starts[other];
            _starts[other] = offset + (i * _context);
        }

        _epoch = epoch;
    }
}
