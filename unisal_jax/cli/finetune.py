"""`unisal finetune`: fine-tunes on your own data and reports the scores before and after."""

import argparse
import signal
from pathlib import Path

from unisal_jax.cli import checks, flags
from unisal_jax.errors import UnisalError
from unisal_jax.files import check_utf8
from unisal_jax.packages import check_array_record

_OVERRIDE = "--config."


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="a prepared dataset; see unisal prepare own"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for weights, report and checkpoints; an interrupted fine-tuning in it resumes",
    )
    parser.add_argument("--domain", metavar="NAME", help="name of the new domain (default: the dataset's)")
    parser.add_argument(
        "--train",
        choices=("all", "domain"),
        help="train all weights, or only the new domain's parameters (default: by the amount of data)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="random seed of split and training (default: 0)"
    )
    parser.add_argument(
        "--fps",
        type=_rate,
        metavar="N",
        help="frames per second of the videos (default: as prepared, else 30)",
    )
    flags.add_examples(
        parser,
        "unisal finetune --data data/own/mine/1.0.0 --out runs/mine",
        "unisal finetune --data data/own/mine/1.0.0 --out runs/domain --train domain",
        "--config.NAME=VALUE changes a field of the training config, such as --config.epochs=4;\n"
        "unisal train --config finetune:images --help lists the fields.",
    )
    parser.set_defaults(check=check, run=run, open_flags=_OVERRIDE)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    check_array_record("fine-tuning")
    checks.check_folder_to_read(args.data)
    check_utf8(args.out, "--out")
    checks.check_folder_to_write(args.out)
    if args.domain is not None:
        from unisal_jax.domains import RELEASED_DOMAINS, Domain

        if args.domain in {domain.name for domain in RELEASED_DOMAINS}:
            raise UnisalError(f"--domain {args.domain}: is a released domain; choose a new name")
        Domain(args.domain, (32, 32))


def run(args: argparse.Namespace) -> int:
    """Fine-tunes; prints the choices made and the result."""
    from tqdm import tqdm

    from unisal_jax.backend import start_jax
    from unisal_jax.finetune.run import FinetuneOptions, finetune

    start_jax()
    options = FinetuneOptions(
        args.data, args.out, args.domain, args.train, args.seed, args.fps, tuple(args.overrides)
    )
    # The status that `main` returns after SIGTERM, so that a script does not take the run for finished.
    return 0 if finetune(options, tqdm.write) is not None else 128 + signal.SIGTERM


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 999999999")
    return int(text)


def _rate(text: str) -> float:
    from unisal_jax.limits import MAX_FPS, MIN_FPS

    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not MIN_FPS <= value <= MAX_FPS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a frame rate from {MIN_FPS:g} to {MAX_FPS:g}")
    return value
