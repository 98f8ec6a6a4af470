"""`unisal import-gaze`: converts eye-tracker exports to the fixation table that `prepare own` reads."""

import argparse
import shlex
from pathlib import Path

from unisal_jax.cli import checks, flags, gaze_flags
from unisal_jax.errors import UnisalError
from unisal_jax.files import files_below, keep_inputs


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "file",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="files exported by an eye tracker, or folders of them",
    )
    parser.add_argument(
        "--stimuli",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the images and films shown",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE.csv",
        help="output table: stimulus, observer, x, y, start, duration; frame for films, trial if repeated",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report to this file")
    parser.add_argument(
        "--preview", type=Path, metavar="FILE.png", help="write a contact sheet of fixations over the stimuli"
    )
    gaze_flags.add_reading(parser.add_argument_group("reading the files"))
    placing = parser.add_argument_group("where and when stimuli were shown, and which fixations to keep")
    gaze_flags.add_placing(placing)
    placing.add_argument(
        "--first-frame",
        type=int,
        default=0,
        metavar="N",
        help="number of a film's first frame, in files with frame numbers (default: 0)",
    )
    flags.add_examples(
        parser,
        "unisal import-gaze exports --stimuli stimuli --out fixations.csv --preview sheet.png",
        "unisal import-gaze gaze.tsv --format tobii --stimuli stimuli --out fixations.csv",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before files are read."""
    gaze_flags.settings(args)
    for path in args.file:
        if not path.exists():
            raise UnisalError(f"{path}: no such file or folder")
    checks.check_folder_to_read(args.stimuli)
    outputs = _outputs(args)
    for path in outputs:
        checks.check_file_to_write(path)
    if args.out.suffix.lower() != ".csv":
        raise UnisalError(f"--out: {args.out} must end in .csv")
    if args.preview and args.preview.suffix.lower() != ".png":
        raise UnisalError(f"--preview: {args.preview} must end in .png")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise UnisalError("--out, --json and --preview: two name the same file")


def run(args: argparse.Namespace) -> int:
    """Imports, writes the table, and prints a report with what looks wrong."""
    from unisal_jax.documents import write_json
    from unisal_jax.gaze.report import lines, next_command
    from unisal_jax.gaze.run import import_files
    from unisal_jax.gaze.sheet import write_sheet
    from unisal_jax.gaze.table import write_table

    inputs = (path for part in (*args.file, args.stimuli) for path in files_below(part))
    keep_inputs(_outputs(args), inputs)
    found, report = import_files(args.file, args.stimuli, gaze_flags.settings(args))
    report["next"] = shlex.join(next_command(report, str(args.stimuli), str(args.out)))
    write_table(args.out, found)
    if args.preview:
        write_sheet(args.preview, found)
    if args.json:
        write_json(args.json, report)
    for line in lines(report):
        print(flags.printable(line))
    print(f"table: {args.out}")
    if args.preview:
        print(f"contact sheet: {args.preview}")
    print(f"next: {report['next']}")
    return 0


def _outputs(args: argparse.Namespace) -> list[Path]:
    return [path for path in (args.out, args.json, args.preview) if path]
