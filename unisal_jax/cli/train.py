"""`unisal train`: an experiment from a config file, or the rest of one that was stopped."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    _take_overrides(parser)
    parser.set_defaults(run=run)


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


def _take_overrides(parser: argparse.ArgumentParser) -> None:
    """Puts arguments of the form --config.NAME=VALUE aside, as `overrides`."""
    parse = parser.parse_known_args

    def parse_known_args(args: Sequence[str], namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        overrides = [arg for arg in args if arg.startswith(_OVERRIDE)]
        found, unknown = parse([arg for arg in args if arg not in overrides], namespace)
        found.overrides = overrides
        return found, unknown

    # argparse has no flag whose name is open; a subcommand's parser is called by this method.
    parser.parse_known_args = parse_known_args  # type: ignore[method-assign,assignment]
