"""`unisal train`: trains from a config file, or resumes a training."""

import argparse
import dataclasses
import fnmatch
import shlex
from pathlib import Path
from typing import NoReturn

from unisal_jax.cli import checks
from unisal_jax.cli.flags import add_examples, positive
from unisal_jax.cli.prepare import prepare_synthetic
from unisal_jax.files import check_utf8, is_address
from unisal_jax.packages import check_array_record

_OVERRIDE = "--config."


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE[:NAME]",
        help="a config file, or the name of a bundled one, such as smoke; settings:iv selects one of several "
        "configs in a file",
    )
    parser.add_argument(
        "--workdir",
        type=lambda text: text if is_address(text) else Path(text),
        required=True,
        metavar="DIR",
        help="folder or gs://bucket/folder for checkpoints and logs; a training in it resumes",
    )
    several = parser.add_argument_group(
        "several processes",
        "On Cloud TPU pods, Slurm, Open MPI and Kubernetes, processes find each other.\n"
        "Elsewhere, pass these flags to each process:",
    )
    several.add_argument(
        "--coordinator", metavar="HOST:PORT", help="address of the machine that runs process 0"
    )
    several.add_argument("--processes", type=positive, metavar="N", help="number of processes")
    several.add_argument("--process", type=int, metavar="I", help="number of this process, from 0")
    add_examples(
        parser,
        "unisal train --config smoke --workdir runs/smoke",
        "unisal train --config unisal --workdir runs/unisal --config.optimizer.lr=0.02",
        "--config.NAME=VALUE changes a field of the config; --config FILE --help lists the fields.",
    )
    parser.add_argument("-h", "--help", nargs=0, action=_Help, help="show this and the config's fields")
    parser.set_defaults(check=check, run=run, open_flags=_OVERRIDE)


class _Help(argparse.Action):
    """--help that also lists the fields of the config, if --config precedes it."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object
    ) -> NoReturn:
        if namespace.config is not None:
            _add_fields(parser, namespace.config)
        parser.print_help()
        parser.exit()


def _add_fields(parser: argparse.ArgumentParser, path: str) -> None:
    """Adds a flag for each field, with its meaning, its default, and the value in the config file."""
    from unisal_jax.train.config import config_fields, load_config
    from unisal_jax.train.fields import flat

    parser.usage = f"{parser.prog} --config FILE[:NAME] --workdir DIR [--config.NAME=VALUE ...]"
    fields = parser.add_argument_group("fields of the config", f"[default; value in {path}]")
    values = flat(dataclasses.asdict(load_config(path)))
    for name, default, meaning in config_fields():
        required = default is dataclasses.MISSING
        here = {key: value for key, value in values.items() if fnmatch.fnmatchcase(key, name)}
        distinct = {repr(value) for value in here.values() if required or value != default}
        set_here = f"; {', '.join(sorted(distinct))}" if distinct else ""
        text = f"{meaning} [{'required' if required else repr(default)}{set_here}]"
        shown = f"--config.{name.replace('*', 'NAME')}=VALUE"
        fields.add_argument(shown, action="store_true", help=text.replace("%", "%%"))


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    check_array_record("training")
    if is_address(args.workdir):
        from unisal_jax.train.cloud import open_address

        open_address(args.workdir)
    else:
        check_utf8(args.workdir, "--workdir")
        checks.check_folder_to_write(args.workdir)


def run(args: argparse.Namespace) -> int:
    """Trains; prints where the checkpoints are and how to use them."""
    from unisal_jax.train.config import load_config

    config = load_config(args.config, args.overrides)  # before JAX is imported

    from unisal_jax.backend import start_jax
    from unisal_jax.train import processes
    from unisal_jax.train.cloud import BEST, CHECKPOINTS
    from unisal_jax.train.loop import train

    processes.start(args.coordinator, args.processes, args.process)
    start_jax()
    outcome = train(config, args.workdir, prepare_synthetic)
    if not processes.is_first():
        return 0
    if not outcome.finished:
        print(f"stopped after step {outcome.step}; run the same command to resume")
    else:
        print(f"{args.workdir}/{CHECKPOINTS}/{outcome.step}: the latest weights")
        best = f"{args.workdir}/{CHECKPOINTS}/{outcome.best_step}"
        if is_address(args.workdir):
            print(f"{best}: the best weights; copy this folder to a disk to use them")
            return 0
        print(f"{args.workdir}/{BEST}: the best weights, from step {outcome.best_step}")
        command = _predict_command(args.workdir / BEST, config.best_domain)
        print(f"Try them on a sample image: {command}")
    return 0


def _predict_command(weights: Path, domain: str) -> str:
    """A command to paste into a shell."""
    from unisal_jax.samples import photograph_path

    command = ["unisal", "predict", str(photograph_path()), "--weights", str(weights)]
    return shlex.join([*command, "--domain", domain, "--out", "maps"])
