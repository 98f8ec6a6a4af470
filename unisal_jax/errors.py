"""The one exception that means "the input is at fault", with a message for people."""


class UnisalError(ValueError):
    """Something the caller gave cannot be used: a file, a flag, an array, a set of weights.

    The message is one line that names the file or the argument at fault. The command line prints
    it and exits with status 1; library code lets it through.
    """

    def __str__(self) -> str:
        # Names in files, and of files, may hold line breaks.
        return " ".join(super().__str__().splitlines())


def one_line(error: BaseException) -> str:
    """What an error says, in one line; of one that says nothing its type."""
    return " ".join(str(error).split()) or type(error).__name__


class OutputError(UnisalError):
    """A result cannot be written: no input's fault, so a policy of skipping bad inputs does not apply."""
