"""Examines the installation: packages, devices, caches, weights, extras. Changes nothing."""

import platform
import sys
from pathlib import Path
from typing import Any

from unisal_jax.errors import UnisalError, one_line
from unisal_jax.inference.engines import default_engine
from unisal_jax.inference.graph_cache import graphs_dir
from unisal_jax.packages import EXTRAS, install_command, requirements, version
from unisal_jax.version import __version__
from unisal_jax.weights.fetch import RELEASED, cache_dir, programs_dir, verify


def examine() -> dict[str, Any]:
    """Facts about the installation, as JSON data.

    Returns:
      `version`, `python` and `system`; `packages`, version by name, None if missing; `devices` of JAX with
      `platform`, `kind` and `count`, or `devices_error`; `engine`, the default engine; `caches` by use, with
      `path`, `bytes` and `files`; `weights` by released name: `ok`, `missing`, `corrupt` or a read error;
      `extras` by name, with `gives`, `packages` and `installed`.
    """
    facts: dict[str, Any] = {
        "caches": {"graphs": _folder(graphs_dir()), "weights": _folder(cache_dir(), deep=False)},
        "extras": {name: _extra(name) for name in EXTRAS},
        "packages": {**_versions(), **{name: version(name) for name in ("jaxlib", "unisal-jax")}},
        "python": platform.python_version(),
        "system": f"{sys.platform} {platform.machine()}",
        "version": __version__,
        "weights": {name: _state(name) for name in RELEASED},
    }
    programs = programs_dir()
    try:
        import jax

        from unisal_jax.backend import local_devices

        programs = Path(jax.config.values.get("jax_compilation_cache_dir") or programs)
        facts["devices"] = _kinds(local_devices())
        facts["engine"] = default_engine()
    except Exception as error:  # an incompatible driver fails in many ways; show the error
        facts["devices"], facts["devices_error"] = [], one_line(error)
    facts["caches"]["programs"] = _folder(programs)
    return facts


def text(facts: dict[str, Any]) -> list[str]:
    """The facts of `examine` as lines of text."""
    lines = [f"unisal-jax {facts['version']}, Python {facts['python']}, {facts['system']}", "", "Packages"]
    lines += [f"  {name:<24} {found or 'MISSING'}" for name, found in sorted(facts["packages"].items())]
    lines += ["", "Devices"]
    lines += [f"  {each['count']} x {each['kind']} ({each['platform']})" for each in facts["devices"]]
    if "devices_error" in facts:
        lines.append(f"  NONE: {facts['devices_error']}")
    else:
        lines.append(f"  default engine: {facts['engine']}")
    lines += ["", "Caches"]
    for use, cache in sorted(facts["caches"].items()):
        lines.append(f"  {use:<10} {cache['bytes'] / 1e6:8.1f} MB in {cache['files']} files  {cache['path']}")
    lines += ["", "Released weights"]
    for name, state in facts["weights"].items():
        hint = "" if state == "ok" else f"  (unisal weights {name} --fetch)"
        lines.append(f"  {name:<16} {state}{hint}")
    lines += ["", "Extras"]
    for name, extra in sorted(facts["extras"].items()):
        state = "installed" if extra["installed"] else f"missing: {install_command(name)}"
        lines.append(f"  {name:<8} {extra['gives']}  ({state})")
    return lines


def _versions(extra: str = "") -> dict[str, str | None]:
    return {each.name: version(each.name) for each in requirements(extra)}


def _extra(name: str) -> dict[str, Any]:
    found = _versions(name)
    return {"gives": EXTRAS[name], "installed": bool(found) and all(found.values()), "packages": found}


def _kinds(devices: list[Any]) -> list[dict[str, Any]]:
    kinds = [(device.platform, device.device_kind) for device in devices]
    return [
        {"count": kinds.count(each), "kind": each[1], "platform": each[0]} for each in dict.fromkeys(kinds)
    ]


def _folder(path: Path, deep: bool = True) -> dict[str, Any]:
    sizes = []
    for file in path.rglob("*") if deep else path.glob("*"):
        try:
            if file.is_file():
                sizes.append(file.stat().st_size)
        except OSError:
            continue  # deleted meanwhile, or not readable
    return {"bytes": sum(sizes), "files": len(sizes), "path": str(path)}


def _state(name: str) -> str:
    try:
        return verify(name)
    except UnisalError as error:
        return str(error)
