"""`unisal train`: an experiment from a config file, or the rest of one that was stopped."""

import argparse
import dataclasses
import fnmatch
import shlex
from pathlib import Path
from typing import NoReturn

from unisal_jax.cli import checks
from unisal_jax.cli.flags import positive
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
        help="a config file, or the name of one of the project's own, such as smoke; settings:iv for one of "
        "several in a file",
    )
    parser.add_argument(
        "--workdir",
        type=lambda text: text if is_address(text) else Path(text),
        required=True,
        metavar="DIR",
        help="checkpoints and logs, a folder or gs://bucket/folder; resumes the training that is in it",
    )
    several = parser.add_argument_group(
        "several processes",
        "Started by a Cloud TPU pod, Slurm, Open MPI or Kubernetes they find each other. Elsewhere, "
        "pass these flags to each process:",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="an address of the first one's machine")
    several.add_argument("--processes", type=positive, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="this one's number, from 0")
    parser.epilog = (
        "--config.NAME=VALUE changes a field of the config, as --config.optimizer.lr=0.01; "
        "--config FILE --help lists them."
    )
    parser.add_argument("-h", "--help", nargs=0, action=_Help, help="show this and the config's fields")
    parser.set_defaults(check=check, run=run, open_flags=_OVERRIDE)


class _Help(argparse.Action):
    """--help that goes on with the fields of the config, where one was named before it."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object
    ) -> NoReturn:
        if namespace.config is not None:
            _add_fields(parser, namespace.config)
        parser.print_help()
        parser.exit()


def _add_fields(parser: argparse.ArgumentParser, path: str) -> None:
    """Adds a flag for each field, with what it means, its default, and what the config file sets."""
    from unisal_jax.train.config import config_fields, load_config
    from unisal_jax.train.fields import flat

    parser.usage = f"{parser.prog} --config FILE[:NAME] --workdir DIR [--config.NAME=VALUE ...]"
    fields = parser.add_argument_group("fields of the config", f"[default; what {path} sets]")
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
    """Refuses what is wrong before JAX is imported."""
    check_array_record("training")
    if is_address(args.workdir):
        from unisal_jax.train.cloud import open_address

        open_address(args.workdir)
    else:
        check_utf8(args.workdir, "--workdir")
        checks.check_folder_to_write(args.workdir)


def run(args: argparse.Namespace) -> int:
    """Trains, and prints where the checkpoints are and how to use them."""
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
        print(f"stopped after step {outcome.step}; the same command goes on from there")
    else:
        print(f"{args.workdir}/{CHECKPOINTS}/{outcome.step}: the last weights")
        best = f"{args.workdir}/{CHECKPOINTS}/{outcome.best_step}"
        if is_address(args.workdir):
            print(f"{best}: the best; copy this folder to a disk to use it")
            return 0
        print(f"{args.workdir}/{BEST}: the best, of step {outcome.best_step}")
        command = _predict_command(args.workdir / BEST, config.best_domain)
        print(f"Use them as here, on an image of the package: {command}")
    return 0


def _predict_command(weights: Path, domain: str) -> str:
    """A command that can be pasted into a shell as it is."""
    from unisal_jax.samples import photograph_path

    command = ["unisal", "predict", str(photograph_path()), "--weights", str(weights)]
    return shlex.join([*command, "--domain", domain, "--out", "maps"])
