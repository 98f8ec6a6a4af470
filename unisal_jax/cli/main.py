"""The `unisal` command: finds the subcommand, and turns errors into one line and exit status 1."""

import argparse
import contextlib
import importlib
import os
import signal
import sys
from typing import NoReturn, TextIO

from unisal_jax.errors import UnisalError
from unisal_jax.files import check_on_disk

# Name -> (module, help). A module is imported only for its own command, so that `--help` is quick.
COMMANDS = {
    "predict": ("unisal_jax.cli.predict", "where people look in images and videos"),
    "crop": ("unisal_jax.cli.crop", "where to cut to an aspect ratio so that most attention is kept"),
    "score-regions": ("unisal_jax.cli.score_regions", "how much attention boxes in an image get"),
    "compare": ("unisal_jax.cli.compare", "which of two images or cuts draws more attention to what"),
    "scanpath": ("unisal_jax.cli.scanpath", "sequences of fixations over images, a stated baseline"),
    "evaluate": ("unisal_jax.cli.evaluate", "scores of our network, or of anyone's maps, on a dataset"),
    "finetune": ("unisal_jax.cli.finetune", "own data in, fine-tuned weights and a scored report out"),
    "train": ("unisal_jax.cli.train", "trains, or goes on with what is in the work folder"),
    "import-gaze": ("unisal_jax.cli.import_gaze", "exports of eye trackers into a table of fixations"),
    "prepare": ("unisal_jax.cli.prepare", "a release or own data into records that training reads fast"),
    "submit": ("unisal_jax.cli.submit", "a test set's predictions as a benchmark's server takes them"),
    "convert": ("unisal_jax.cli.convert", "weights from one file format to another"),
    "export": ("unisal_jax.cli.export", "the network as ONNX or StableHLO, to run without this package"),
    "benchmark": ("unisal_jax.cli.benchmark", "how fast prediction is here, beside its peers"),
    "analyze": ("unisal_jax.cli.analyze", "the paper's figures and tables, from data and weights"),
    "demo": ("unisal_jax.cli.demo", "a page on this machine to try things on"),
    "doctor": ("unisal_jax.cli.doctor", "what is installed here, where it would run, what is missing"),
    "weights": ("unisal_jax.cli.weights", "list, fetch and verify the released weights"),
}


# Those that run XLA on a CPU for long enough that its memory matters.
_XLA_COMMANDS = ("train", "finetune", "analyze")


# How XLA and OpenCV say it.
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Insufficient memory")


class Parser(argparse.ArgumentParser):
    """argparse with the exit status and the single line that the other errors have."""

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with status 1."""
        self.exit(1, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Runs `unisal ARGV` and returns its exit status: 0, 1, or 128 and the signal that ended it.

    An error is one line, unless --debug is given.
    """
    of_its_own = argv is None  # this process is the command's, not some other program that calls us
    if of_its_own:
        _set_up_process()
    argv = sys.argv[1:] if argv is None else argv
    wanted = next((arg for arg in argv if arg in COMMANDS), None)
    title = f"unisal {wanted}" if wanted else "unisal"
    try:
        status = _run(argv, wanted, of_its_own)
        sys.stdout.flush()  # here, so that a full disk is told like any other error
        return status
    except KeyboardInterrupt as stop:
        if of_its_own:
            # Threads may take a while to end: a second Ctrl-C does not wait for them.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        print(f"{title}: {'terminated' if stop.args else 'interrupted'}", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:
        # The reader of a pipe has gone, as with `| head`: not an error of ours.
        _discard_unwritten(sys.stdout)
        return 1
    except Exception as error:
        if "--debug" in argv:
            raise
        print(f"{title}: {error_line(error)}", file=sys.stderr)
        _discard_unwritten(sys.stdout)
        return 1


def _run(argv: list[str], wanted: str | None, of_its_own: bool) -> int:
    parser = Parser("unisal", description="Where people look in images and video.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    # The full parser of the wanted command alone; the others are here for the list in --help.
    for name, (module, text) in COMMANDS.items():
        # "resolve": `train` has a --help of its own.
        command = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", conflict_handler="resolve"
        )
        if name == wanted:
            importlib.import_module(module).configure(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args, rest = parser.parse_known_args(argv)
    # A command whose flags are open (--config.NAME=VALUE) says how they begin, and gets them as they are.
    prefix = getattr(args, "open_flags", None)
    unknown = [arg for arg in rest if prefix is None or not arg.startswith(prefix)]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.overrides = rest
    if args.version:
        from unisal_jax.version import __version__

        print(f"unisal-jax {__version__}")
        return 0
    if args.command is None:
        parser.print_help()
        return 1
    _check_on_disk(argv, args)
    if getattr(args, "weights", "") is None:
        from unisal_jax.weights.installed import default_weights

        args.weights = default_weights(getattr(args, "domain", None))
    if hasattr(args, "check"):
        args.check(args)
    if of_its_own and args.command in _XLA_COMMANDS:
        from unisal_jax.cli.memory import restart_with_large_pages

        restart_with_large_pages()
    status: int = args.run(args)
    return status


# Arguments that may be addresses, and how these begin; every other file or folder is on a disk.
_ADDRESSES = {"workdir": "", "weights": "hf://", "input": "hf://"}


def _check_on_disk(argv: list[str], args: argparse.Namespace) -> None:
    """Refuses addresses such as gs://bucket/file, as far as the commands can only read and write on disks.

    Raises:
      UnisalError: names the first one.
    """
    allowed = {
        value
        for name, start in _ADDRESSES.items()
        if isinstance(value := getattr(args, name, None), str) and value.startswith(start)
    }
    if hasattr(args, "allow_network"):  # whose command looks at the flag itself
        from unisal_jax.media.addresses import is_network

        inputs = [args.input] if isinstance(args.input, str) else args.input
        allowed |= {text for text in inputs if is_network(text)}
    for arg in argv:
        value = arg.partition("=")[2] if arg.startswith("--") and "=" in arg else arg
        if value not in allowed and not (arg.startswith("--config.") and value.startswith("hf://")):
            check_on_disk(value)


def _set_up_process() -> None:
    """Makes what is printed, and a signal to end, harmless to the work that is being done."""
    # NumPy's threads for matrix products spin for a tenth of a second once they are there, asked for or not.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    for stream in (sys.stdout, sys.stderr):
        # A file's name may hold what the console cannot show: escapes are printed instead.
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            # As Ctrl-C does, it unwinds the stack, so that temporary files are removed.
            signal.signal(number, _terminate)


def _terminate(number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def error_line(error: Exception) -> str:
    """What a person is told of an error."""
    if isinstance(error, UnisalError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY):
        return "out of memory; a smaller --input-size, or smaller or fewer inputs at once, need less"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return f"unexpected {type(error).__name__}{f': {text}' if text else ''} (--debug shows where)"


def _discard_unwritten(stream: TextIO) -> None:
    """Drops what a stream still holds and cannot write: Python would try again at exit, and complain."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
