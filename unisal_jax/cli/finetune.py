"""`unisal finetune`: own data in, a fine-tuned model and an honest report out."""

import argparse
import signal
from pathlib import Path

from unisal_jax.cli import checks
from unisal_jax.errors import UnisalError
from unisal_jax.files import check_utf8
from unisal_jax.packages import check_array_record

_OVERRIDE = "--config."


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="a prepared dataset, see unisal prepare own"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="weights, report and checkpoints; resumes the fine-tuning that is in it",
    )
    parser.add_argument("--domain", metavar="NAME", help="of the new domain (default: the dataset's name)")
    parser.add_argument(
        "--train",
        choices=("all", "domain"),
        help="train all weights, or the new domain's own parameters alone (default: by the amount of data)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of the split and the training (default: 0)"
    )
    parser.add_argument(
        "--fps", type=_rate, metavar="N", help="frames a second of the videos (default: as prepared, else 30)"
    )
    parser.epilog = (
        "--config.NAME=VALUE changes a field of the training's config, as --config.epochs=4; "
        "unisal train --config finetune:images --help lists them."
    )
    parser.set_defaults(check=check, run=run, open_flags=_OVERRIDE)


def check(args: argparse.Namespace) -> None:
    """Refuses what is wrong before JAX is imported."""
    check_array_record("fine-tuning")
    checks.check_folder_to_read(args.data)
    check_utf8(args.out, "--out")
    checks.check_folder_to_write(args.out)
    if args.domain is not None:
        from unisal_jax.domains import RELEASED_DOMAINS, Domain

        if args.domain in {domain.name for domain in RELEASED_DOMAINS}:
            raise UnisalError(f"--domain {args.domain}: is a released domain, which stays; name a new one")
        Domain(args.domain, (32, 32))


def run(args: argparse.Namespace) -> int:
    """Fine-tunes; prints what is chosen, and the result."""
    from tqdm import tqdm

    from unisal_jax.backend import start_jax
    from unisal_jax.finetune.run import Asked, finetune

    start_jax()
    asked = Asked(args.data, args.out, args.domain, args.train, args.seed, args.fps, tuple(args.overrides))
    # As main says it of a command that SIGTERM ended: what comes after must not take it for finished.
    return 0 if finetune(asked, tqdm.write) is not None else 128 + signal.SIGTERM


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
