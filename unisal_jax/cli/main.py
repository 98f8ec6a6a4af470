"""The `unisal` command: runs the subcommand, and turns errors into one line and exit status 1."""

import argparse
import contextlib
import importlib
import os
import signal
import sys
from typing import NoReturn, TextIO

from unisal_jax.cli.flags import add_examples
from unisal_jax.errors import UnisalError
from unisal_jax.files import check_on_disk

# Name -> (module, help). Only the requested command's module is imported, so that `--help` is fast.
COMMANDS = {
    "predict": ("unisal_jax.cli.predict", "predict where people look in images and videos"),
    "crop": ("unisal_jax.cli.crop", "crop images and videos to an aspect ratio, keeping most attention"),
    "score-regions": ("unisal_jax.cli.score_regions", "measure how much attention boxes receive"),
    "compare": ("unisal_jax.cli.compare", "compare where two images or videos draw attention"),
    "scanpath": ("unisal_jax.cli.scanpath", "sample sequences of fixations over images (a baseline)"),
    "evaluate": ("unisal_jax.cli.evaluate", "score this model, or other saliency maps, on a dataset"),
    "finetune": ("unisal_jax.cli.finetune", "fine-tune on your own data and report the scores"),
    "train": ("unisal_jax.cli.train", "train from a config file, or resume a training"),
    "import-gaze": ("unisal_jax.cli.import_gaze", "convert eye-tracker exports to a table of fixations"),
    "prepare": ("unisal_jax.cli.prepare", "convert a released dataset or your own data for training"),
    "submit": ("unisal_jax.cli.submit", "predict a test set in the format of a benchmark server"),
    "convert": ("unisal_jax.cli.convert", "convert weights between file formats"),
    "export": ("unisal_jax.cli.export", "export the network to a file or a web page"),
    "benchmark": ("unisal_jax.cli.benchmark", "measure how fast prediction runs on this machine"),
    "analyze": ("unisal_jax.cli.analyze", "draw the paper's figures and tables from data and weights"),
    "demo": ("unisal_jax.cli.demo", "serve a demo page on this machine"),
    "doctor": ("unisal_jax.cli.doctor", "show what is installed, which devices it uses, what is missing"),
    "weights": ("unisal_jax.cli.weights", "list, download and verify the released weights"),
}


# Commands that run XLA on a CPU long enough for its memory use to matter.
_XLA_COMMANDS = ("train", "finetune", "analyze")


# Texts of out-of-memory errors of XLA and OpenCV.
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Insufficient memory")


class Parser(argparse.ArgumentParser):
    """argparse with exit status 1 and a one-line message, like all other errors."""

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with status 1."""
        self.exit(1, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Runs `unisal ARGV` and returns its exit status: 0, 1, or 128 plus the signal that ended it.

    Prints one line for an error; with --debug, raises it.
    """
    of_its_own = argv is None  # this process belongs to the command, not to a program that calls `main`
    if of_its_own:
        _set_up_process()
    argv = sys.argv[1:] if argv is None else argv
    wanted = next((arg for arg in argv if arg in COMMANDS), None)
    title = f"unisal {wanted}" if wanted else "unisal"
    try:
        status = _run(argv, wanted, of_its_own)
        sys.stdout.flush()  # here, so that a full disk is reported like any other error
        return status
    except KeyboardInterrupt as stop:
        if of_its_own:
            # Threads may take a while to end; a second Ctrl-C must not wait for them.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        print(f"{title}: {'terminated' if stop.args else 'interrupted'}", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:
        # The reader of the pipe has closed it, as `| head` does: not an error.
        _discard_unwritten(sys.stdout)
        return 1
    except Exception as error:
        if "--debug" in argv:
            raise
        print(f"{title}: {error_line(error)}", file=sys.stderr)
        _discard_unwritten(sys.stdout)
        return 1


def build_parser(wanted: str | None) -> Parser:
    """The parser of `unisal`, complete for the command `wanted` alone; the others only appear in --help."""
    parser = Parser("unisal", description="Predicts where people look in images and video.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    add_examples(
        parser,
        "unisal predict photo.jpg --out maps",
        "unisal predict film.mp4 --out maps --save overlay,json",
        "unisal COMMAND --help describes a command.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    for name, (module, text) in COMMANDS.items():
        # "resolve": `train` replaces --help.
        command = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", conflict_handler="resolve"
        )
        if name == wanted:
            importlib.import_module(module).configure(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _run(argv: list[str], wanted: str | None, of_its_own: bool) -> int:
    parser = build_parser(wanted)
    args, rest = parser.parse_known_args(argv)
    # A command with open flags (--config.NAME=VALUE) declares their prefix and parses them itself.
    prefix = getattr(args, "open_flags", None)
    unknown = [arg for arg in rest if prefix is None or not arg.startswith(prefix)]
    if unknown:
        # argparse parses the command's arguments in a parser of its own, which it does not return.
        title = f"{parser.prog} {args.command}" if args.command else parser.prog
        parser.exit(1, f"{title}: unrecognized arguments: {' '.join(unknown)}; see {title} --help\n")
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


# Arguments that may be URLs, with the prefix of these URLs; every other file or folder is on a disk.
_ADDRESSES = {"workdir": "", "weights": "hf://", "input": "hf://"}


def _check_on_disk(argv: list[str], args: argparse.Namespace) -> None:
    """Refuses URLs such as gs://bucket/file where the command can only read and write on disks.

    Raises:
      UnisalError: names the first such URL.
    """
    allowed = {
        value
        for name, start in _ADDRESSES.items()
        if isinstance(value := getattr(args, name, None), str) and value.startswith(start)
    }
    if hasattr(args, "allow_network"):  # this command checks the flag itself
        from unisal_jax.media.addresses import is_network

        inputs = [args.input] if isinstance(args.input, str) else args.input
        allowed |= {text for text in inputs if is_network(text)}
    for arg in argv:
        value = arg.partition("=")[2] if arg.startswith("--") and "=" in arg else arg
        if value not in allowed and not (arg.startswith("--config.") and value.startswith("hf://")):
            check_on_disk(value)


def _set_up_process() -> None:
    """Sets up output streams and signals so that neither can leave work half done."""
    # OpenBLAS threads busy-wait for a tenth of a second after each product; they take cores from XLA.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold characters that the console cannot show; print escapes instead.
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            # Unwind the stack as Ctrl-C does, so that temporary files are removed.
            signal.signal(number, _terminate)


def _terminate(number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def error_line(error: Exception) -> str:
    """The one-line message for an error."""
    if isinstance(error, UnisalError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY):
        return "out of memory; use a smaller --input-size, or smaller or fewer inputs at once"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return f"unexpected {type(error).__name__}{f': {text}' if text else ''} (--debug shows where)"


def _discard_unwritten(stream: TextIO) -> None:
    """Drops buffered output that cannot be written; Python would retry at exit and print an error."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
