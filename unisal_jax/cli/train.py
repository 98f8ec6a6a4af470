"""`unisal train`: an experiment from a config file, or the rest of one that was stopped."""

import argparse
from pathlib import Path

_OVERRIDE = "--config."


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("--config", required=True, metavar="FILE", help="such as configs/smoke.py")
    parser.add_argument(
        "--workdir",
        type=Path,
        required=True,
        metavar="DIR",
        help="checkpoints and logs; a training in it goes on where it stopped",
    )
    parser.epilog = "--config.NAME=VALUE changes a field of the config, as --config.optimizer.lr=0.01."
    parser.set_defaults(run=run, open_flags=_OVERRIDE)


def run(args: argparse.Namespace) -> int:
    """Trains, and prints where the checkpoints are."""
    from unisal_jax.train.config import load_config
    from unisal_jax.train.loop import BEST, CHECKPOINTS, train

    outcome = train(load_config(args.config, args.overrides), args.workdir)
    if not outcome.finished:
        print(f"stopped after step {outcome.step}; the same command goes on from there")
    else:
        print(f"{args.workdir / CHECKPOINTS / str(outcome.step)}: the last weights")
        print(f"{args.workdir / BEST}: the best, of step {outcome.best_step}")
    return 0
