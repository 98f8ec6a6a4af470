"""`unisal weights`: the released files, what they are and whether they are here and whole."""

import argparse
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("name", nargs="*", help="released files (default: all)")
    parser.add_argument("--fetch", action="store_true", help="fetch what is missing or damaged")
    parser.add_argument(
        "--verify", action="store_true", help="exit with status 1 unless all are here and whole"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line a file: name, state, sha256, path, what it is."""
    from unisal_jax.errors import UnisalError
    from unisal_jax.weights.fetch import RELEASED, cached_path, fetch, verify

    unknown = [name for name in args.name if name not in RELEASED]
    if unknown:
        raise UnisalError(f"weights {unknown[0]!r}: not a released file; there are {', '.join(RELEASED)}")
    states = []
    for name in args.name or RELEASED:
        released = RELEASED[name]
        if args.fetch:
            fetch(name)
        states.append(verify(name))
        print(f"{name:<16} {states[-1]:<8} {released.description}")
        print(f"{'':<16} sha256 {released.sha256}")
        print(f"{'':<16} {cached_path(name)} ({released.size / 1e6:.1f} MB)")
    if args.verify and set(states) != {"ok"}:
        print(
            f"unisal weights: {len(states) - states.count('ok')} of {len(states)} not here and whole",
            file=sys.stderr,
        )
        return 1
    return 0
