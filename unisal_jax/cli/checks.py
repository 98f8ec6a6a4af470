"""Checks of arguments that commands make before they import JAX, which takes seconds.

A command's `check(args)` calls them. They are cheap and incomplete: they look for missing inputs and for
outputs that cannot be written, and read no file's content.
"""

import glob
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.files import check_no_device, new_folders
from unisal_jax.media.addresses import allowed, is_network


def check_inputs(inputs: Iterable[str], allow_network: bool = False) -> None:
    """Refuses inputs (`flags.add_inputs`) that are no existing path, glob, camera or allowed URL."""
    for text in inputs:
        if is_network(text):
            allowed(text, allow_network)
            continue
        if not (os.path.exists(text) or glob.has_magic(text) or text.startswith("camera:")):
            raise UnisalError(f"{Path(text)}: no such file or folder")


def check_folder_to_read(path: Path) -> None:
    """Refuses a folder that does not exist."""
    if not path.is_dir():
        raise UnisalError(f"{path}: {'is not a folder' if path.exists() else 'no such folder'}")


def check_weights(weights: str, domain: str | None = None) -> None:
    """Refuses weights that do not exist, and a domain that is neither in the release nor in a domain pack."""
    from unisal_jax.weights.installed import check_domain
    from unisal_jax.weights.sources import check_there, resolve

    source = resolve(weights)
    if source.kind == "hub":
        check_extra(weights, "hub", "huggingface_hub")
    check_there(source)
    if source.kind == "release" and domain is not None:
        check_domain(weights, domain)


def check_folder_to_write(folder: Path) -> None:
    """Refuses a folder that cannot be created or written to; leaves nothing behind."""
    with new_folders([folder]):
        pass


def check_file_to_write(path: Path) -> None:
    """Refuses a file whose folder does not exist or cannot be written to."""
    if path.is_dir() or not path.parent.is_dir():
        raise UnisalError(
            f"{path}: cannot be written ({'is a folder' if path.is_dir() else f'no folder {path.parent}'})"
        )
    check_no_device(path)
    check_folder_to_write(path.parent)


def check_file_to_write_anywhere(path: Path) -> None:
    """Refuses a file whose folder can be neither created nor written to."""
    place = next(folder for folder in path.absolute().parents if folder.exists())
    if not place.is_dir():
        raise UnisalError(f"{path}: cannot be written ({place} is not a folder)")
    check_no_device(path)
    check_folder_to_write(path.parent)


def check_extra(what: str, extra: str, *modules: str) -> None:
    """Refuses `what` if a module that it requires is not installed; imports none of them."""
    for name in modules:
        if not _is_installed(name):
            from unisal_jax.packages import install_command

            raise UnisalError(f"{what} requires {name}; install it with: {install_command(extra)}")


def _is_installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return importlib.util.find_spec(module) is not None
