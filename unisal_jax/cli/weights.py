"""`unisal weights`: lists, downloads and verifies weights; adds, removes and makes domain packs."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unisal_jax.cli import flags
from unisal_jax.errors import UnisalError

if TYPE_CHECKING:
    from unisal_jax.weights.packs import Pack

# Actions that the first word may name instead of weights, and their arguments.
ACTIONS = {"add": "PACK", "remove": "NAME", "pack": "WEIGHTS OUT"}
_COLUMN = 16
_MAX_SHOWN = 200  # characters


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.description = (
        "Lists the released weights and the domain packs. Other actions:\n\n"
        "  unisal weights add PACK [--name N]                add a domain pack to the released weights\n"
        "  unisal weights remove NAME                        remove a domain pack that was added\n"
        "  unisal weights pack WEIGHTS OUT --domain NAME     make a domain pack from trained weights\n"
    )
    parser.add_argument(
        "word",
        nargs="*",
        help="released weights or domain packs to list (default: all), or an action as above",
    )
    parser.add_argument("--fetch", action="store_true", help="download weights that are missing or damaged")
    parser.add_argument(
        "--verify", action="store_true", help="exit with status 1 if any are missing or damaged"
    )
    parser.add_argument("--name", metavar="N", help="for add: new name of the domain (default: the pack's)")
    parser.add_argument("--domain", metavar="NAME", help="for pack: domain to extract from the weights")
    parser.add_argument(
        "--about",
        type=_fact,
        action="append",
        metavar="KEY=TEXT",
        help="for pack: a note to store, such as data, licence or scores; may be repeated",
    )
    flags.add_examples(
        parser,
        "unisal weights unisal --fetch",
        "unisal weights pack runs/mine/best mine.pack.safetensors --domain mine --about licence=MIT",
    )
    parser.set_defaults(check=check, run=run)


def _fact(text: str) -> tuple[str, str]:
    key, is_fact, value = text.partition("=")
    if not (key and is_fact):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=TEXT, such as licence=MIT")
    return key, value


def check(args: argparse.Namespace) -> None:
    """Refuses words and flags that do not match."""
    action = args.word[0] if args.word and args.word[0] in ACTIONS else None
    if action is not None and len(args.word) - 1 != len(ACTIONS[action].split()):
        raise UnisalError(f"{action}: requires {ACTIONS[action]}")
    for flag, given, owner in (
        ("--fetch", args.fetch, None),
        ("--verify", args.verify, None),
        ("--name", args.name is not None, "add"),
        ("--domain", args.domain is not None, "pack"),
        ("--about", args.about is not None, "pack"),
    ):
        if given and owner != action:
            use = f"applies to unisal weights {owner} only" if owner else f"cannot be combined with {action}"
            raise UnisalError(f"{flag}: {use}")
    if action == "pack" and args.domain is None:
        raise UnisalError("pack: requires --domain NAME, the domain to extract from the weights")


def run(args: argparse.Namespace) -> int:
    """Lists, or performs the action that the first word names."""
    match args.word:
        case ["add", path]:
            return _add(path, args.name)
        case ["remove", name]:
            from unisal_jax.weights.installed import remove

            print(f"{remove(name)}: removed")
            return 0
        case ["pack", weights, out]:
            return _pack(weights, Path(out), args.domain, args.about)
    return _list(args)


def _add(path: str, name: str | None) -> int:
    from unisal_jax.weights.installed import add
    from unisal_jax.weights.packs import release_of

    pack, target = add(path, name)
    release = release_of(pack.shared_sha256)
    print(f"{target}: {_summary(pack)}")
    weights = "" if release else f" --weights {flags.printable(pack.base)}"
    print(f"use it: unisal predict photo.jpg --domain {pack.domain.name}{weights} --out maps")
    return 0


def _pack(weights: str, out: Path, domain: str, about: list[tuple[str, str]] | None) -> int:
    from unisal_jax.files import keep_inputs
    from unisal_jax.weights.packs import load_pack, save_pack
    from unisal_jax.weights.sources import files_of
    from unisal_jax.weights.store import load_weights

    keep_inputs([out], files_of(weights))
    save_pack(out, load_weights(weights), domain, None if about is None else dict(about))
    print(f"{out}: {_summary(load_pack(out))}, {out.stat().st_size / 1e6:.2f} MB")
    return 0


def _list(args: argparse.Namespace) -> int:
    """Prints a few lines per entry: name, state, description, sha256, path."""
    from unisal_jax.weights.fetch import RELEASED, cached_path, fetch, verify
    from unisal_jax.weights.installed import at_hand

    packs = at_hand()
    names = args.word or [*RELEASED, *packs]
    for name in names:
        if name not in RELEASED and name not in packs:
            known = ", ".join([*RELEASED, *packs])
            raise UnisalError(
                f"weights {name!r}: neither released weights nor a domain pack; choose from {known}"
            )
    states = []
    for name in names:
        if name not in RELEASED:
            states.append(_list_pack(name, packs[name]))
            continue
        released = RELEASED[name]
        if args.fetch:
            fetch(name)
        states.append(verify(name))
        print(f"{name:<{_COLUMN}} {states[-1]:<8} {released.description}")
        print(f"{'':<{_COLUMN}} sha256 {released.sha256}")
        print(f"{'':<{_COLUMN}} {cached_path(name)} ({released.size / 1e6:.1f} MB)")
    if args.verify and set(states) != {"ok"}:
        print(
            f"unisal weights: {len(states) - states.count('ok')} of {len(states)} missing or damaged",
            file=sys.stderr,
        )
        return 1
    return 0


def _list_pack(name: str, path: Path) -> str:
    """Prints a pack's lines; returns its state."""
    from unisal_jax.weights.installed import read

    try:
        pack = read(path)
    except UnisalError as error:
        print(f"{name:<{_COLUMN}} corrupt  {flags.printable(str(error))}")
        return "corrupt"
    print(f"{name:<{_COLUMN}} ok       {_summary(pack)}")
    for key, text in pack.about.items():
        print(f"{'':<{_COLUMN}} {flags.printable(f'{key}: {text}'[:_MAX_SHOWN])}")
    print(f"{'':<{_COLUMN}} sha256 {pack.sha256} (of its tensors)")
    print(f"{'':<{_COLUMN}} {path} ({path.stat().st_size / 1e6:.2f} MB)")
    return "ok"


def _summary(pack: "Pack") -> str:
    from unisal_jax.domains import shown_size

    domain = pack.domain
    return (
        f"domain pack {domain.name} for the weights {flags.printable(pack.base)}: "
        f"{'images' if domain.static else f'video, stride {domain.stride}'}, {shown_size(domain.input_size)}"
    )
