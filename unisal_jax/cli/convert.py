"""`unisal convert`: weights between .pth, .safetensors and a checkpoint folder."""

import argparse
from pathlib import Path

from unisal_jax.cli import checks, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "input", help="a .pth or .safetensors file, a checkpoint folder, or the name of a release"
    )
    parser.add_argument(
        "output", type=Path, help="output: a .pth or .safetensors file, or a checkpoint folder (no suffix)"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read the output back and compare it with the input, tensor by tensor",
    )
    flags.add_examples(
        parser,
        "unisal convert unisal unisal.safetensors",
        "unisal convert runs/smoke/best weights.pth --verify",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    checks.check_weights(args.input)
    checks.check_file_to_write_anywhere(args.output)


def run(args: argparse.Namespace) -> int:
    """Converts; with --verify compares every tensor."""
    from unisal_jax.backend import start_jax
    from unisal_jax.files import keep_inputs
    from unisal_jax.weights.sources import files_of
    from unisal_jax.weights.store import load_weights, save_weights
    from unisal_jax.weights.verify import proof

    keep_inputs([args.output], files_of(args.input))
    start_jax()
    weights = load_weights(args.input)
    save_weights(args.output, weights)
    if args.verify:
        lines, differing = proof(args.input, args.output)
        print("\n".join(lines))
        if differing:
            return 1
    names = ", ".join(domain.name for domain in weights.config.domains)
    print(f"{args.output}: written from {args.input} (domains {names})")
    return 0
