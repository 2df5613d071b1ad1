namespace FusedKernels.Interop;

/// <summary>An ignore index among options: <c>default</c> means -100, while 0 and "none" can be said.</summary>
internal readonly record struct IgnoreIndexSetting
{
    public const long Default = -100;

    private readonly bool _isSet;
    private readonly long? _value;

    public IgnoreIndexSetting(long? value)
    {
        _isSet = value != Default;
        _value = _isSet ? value : null;
    }

    public long? Value => _isSet ? _value : Default;
}
