"""The exception for invalid input, with a one-line message for users."""


class UnisalError(ValueError):
    """Invalid input: a file, a flag, an array or weights that cannot be used.

    The message is one line that names the file or argument at fault. The command line prints it and exits
    with status 1; library code lets it propagate.
    """

    def __str__(self) -> str:
        # Names in files, and file names, may contain line breaks.
        return " ".join(super().__str__().splitlines())


def one_line(error: BaseException) -> str:
    """The message of an error in one line; its type if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


class OutputError(UnisalError):
    """A result cannot be written. Not the fault of an input, so skipping bad inputs does not apply."""
