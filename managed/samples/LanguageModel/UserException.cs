namespace LanguageModel;

/// <summary>An error that the user can act on: its message is shown as it is, without a stack trace.</summary>
internal sealed class UserException(string message) : Exception(message);
