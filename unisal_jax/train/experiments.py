"""Finds config files by path or name, runs them and applies overrides. Does not import JAX, to start fast.

A file's `get_config()` returns a `config.TrainConfig`, or an ml_collections ConfigDict of its fields. In a
file with several experiments, it takes the name of one as an argument (`FILE:NAME`), and `NAMES` lists the
names.
"""

import dataclasses
import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from unisal_jax.errors import UnisalError

_SUFFIX = ".py"


def config_folder() -> Path:
    """The folder of the project's configs: inside the installed package, or next to it in a clone."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def known_configs() -> list[str]:
    """Names of the project's configs."""
    return sorted(path.stem for path in config_folder().glob(f"*{_SUFFIX}") if not path.stem.startswith("_"))


def find_config(text: str | Path) -> tuple[Path, str]:
    """The config file, and the name of the experiment in it, or "".

    Args:
      text: FILE or FILE:NAME. FILE is a path, or the name of one of the project's configs with or without its
        suffix; an existing path takes precedence.

    Raises:
      UnisalError: there is no such file; lists the project's configs.
    """
    if Path(text).is_file():
        return Path(text), ""
    # A folder's name may contain a colon too.
    file, _, name = str(text).partition(f"{_SUFFIX}:")
    file = f"{file}{_SUFFIX}" if name else file
    if not name and not file.endswith(_SUFFIX):
        file, _, name = file.partition(":")
    path = Path(file)
    if path.is_file():
        return path, name
    stem = path.name.removesuffix(_SUFFIX)
    if path.name == file and stem in known_configs():
        return config_folder() / f"{stem}{_SUFFIX}", name
    meant = f"; use --config {stem}{name and ':' + name}" if stem in known_configs() else ""
    raise UnisalError(f"{file}: no such config file, and not one of {', '.join(known_configs())}{meant}")


def read_config(text: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Runs a config file and applies overrides to its fields, without checking their values.

    Args:
      text: as for `find_config`.
      overrides: such as `optimizer.lr=0.01`; the name may start with `config.` or `--config.`.

    Raises:
      UnisalError: no such file, it fails, it has no such experiment, or an override is malformed.
    """
    return overridden(_run(*find_config(text)), overrides)


def overridden(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A config's fields with the overrides applied, without checking their values; see `read_config`."""
    for override in overrides:
        values = _overridden(values, override.removeprefix("--").removeprefix("config."))
    return values


def _overridden(values: dict[str, Any], override: str) -> dict[str, Any]:
    """Applies one override, through ml_collections' flag; it may add a key to a mapping.

    Overrides are applied one at a time, so that an error names the wrong one.
    """
    from absl import flags
    from ml_collections import ConfigDict, FieldReference, config_flags

    def node(value: Any) -> Any:
        # Accepts any literal: `fields.typed` checks the values against the type hints.
        if isinstance(value, dict):
            return {key: node(each) for key, each in value.items()}
        return FieldReference(value, field_type=object)

    flag, known = f"--config.{override}", flags.FlagValues()
    name, equals, _ = override.partition("=")
    if not equals or not name:
        raise UnisalError(f"{flag}: not an override of the form --config.NAME=VALUE")
    try:
        config_flags.DEFINE_config_dict(
            "config",
            ConfigDict(node(values)),
            flag_values=known,
            lock_config=False,
            accept_new_attributes=True,
            sys_argv=[flag],
        )
        known(["unisal", flag])
        changed: dict[str, Any] = known.config.to_dict()
        return changed
    except flags.IllegalFlagValueError as error:
        raise UnisalError(
            f"config.{name}: has fields of its own; set one, as --config.{name}.FIELD=VALUE"
        ) from error
    except (LookupError, TypeError, ValueError, RecursionError, flags.Error) as error:
        raise UnisalError(
            f"config.{name}: no such field; unisal train --config FILE --help lists the fields"
        ) from error


def _run(path: Path, name: str) -> dict[str, Any]:
    from ml_collections import ConfigDict

    spec = importlib.util.spec_from_file_location("unisal_config", path)
    if spec is None or spec.loader is None:
        raise UnisalError(f"{path}: not a {_SUFFIX} file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(*_arguments(module, path, name))
    except UnisalError:
        raise
    except Exception as error:
        # User code may raise anything.
        raise UnisalError(f"{path}: {type(error).__name__}: {error}") from error
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return dataclasses.asdict(config)
    if not isinstance(config, ConfigDict):
        raise UnisalError(f"{path}: get_config() returns a {type(config).__name__}, not a TrainConfig")
    values: dict[str, Any] = config.to_dict()
    return values


def _arguments(module: ModuleType, path: Path, name: str) -> list[str]:
    """The arguments of `get_config`; raises UnisalError, with the choices, if there is no such experiment."""
    parameters = list(inspect.signature(module.get_config).parameters.values())
    names = [str(each) for each in getattr(module, "NAMES", ())]
    if not parameters:
        if name:
            raise UnisalError(f"{path}: has only one experiment, without a name; omit :{name}")
        return []
    if names and name not in names and (name or parameters[0].default is inspect.Parameter.empty):
        what = f"has no experiment {name!r}" if name else "has several experiments"
        raise UnisalError(f"{path}: {what}; choose one of {', '.join(names)}, as {path.name}:{names[0]}")
    if not name and parameters[0].default is inspect.Parameter.empty:
        raise UnisalError(f"{path}: get_config() requires an argument; pass it as {path.name}:NAME")
    return [name] if name else []
