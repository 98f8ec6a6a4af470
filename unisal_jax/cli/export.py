"""`unisal export`: exports the network to a file that runs without this package."""

import argparse
from pathlib import Path
from typing import Literal

from unisal_jax.cli import checks, flags
from unisal_jax.domains import Size


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="file to write; its description goes to OUT.json"
    )
    parser.add_argument("--format", choices=("onnx", "stablehlo"), required=True, help="file format")
    flags.add_weights(parser)
    parser.add_argument(
        "--domain", help="domain whose parameters to use (default: salicon; with --streaming dhf1k)"
    )
    parser.add_argument(
        "--input-size",
        type=_input_size,
        metavar="HxW|any",
        help="size of the images (default: the domain's); StableHLO accepts any: all multiples of 32",
    )
    parser.add_argument(
        "--batch",
        type=_batch,
        default=1,
        metavar="N|any",
        help="images, or sequences, per call (default: 1)",
    )
    parser.add_argument(
        "--streaming",
        action="store_true",
        help="for video: take a frame and the hidden state, return the map and the next state",
    )
    parser.add_argument(
        "--uint8",
        action="store_true",
        help="take uint8 RGB and return densities (default: normalised float32 to log-densities)",
    )
    flags.add_examples(
        parser,
        "unisal export unisal.onnx --format onnx --uint8",
        "unisal export video.onnx --format onnx --streaming --domain dhf1k",
    )
    parser.set_defaults(check=check, run=run)


def _input_size(text: str) -> Size | Literal["any"]:
    return "any" if text == "any" else flags.input_size(text)


def _batch(text: str) -> int | Literal["any"]:
    return "any" if text == "any" else flags.positive(text)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    checks.check_weights(args.weights, args.domain)
    checks.check_file_to_write_anywhere(args.out)
    if args.format == "stablehlo":
        checks.check_extra("--format stablehlo", "export", "flatbuffers")


def run(args: argparse.Namespace) -> int:
    """Exports, checks the file against the network, and prints what was written."""
    from unisal_jax.export.run import ExportOptions, card_path, export

    options = ExportOptions(args.format, args.domain, args.input_size, args.batch, args.streaming, args.uint8)
    card = export(args.weights, args.out, options)
    print(
        f"{args.out}: {card['artifact']['bytes'] / 1e6:.1f} MB, domain {card['domain']}, "
        f"at most {card['difference']:.1g} from the network in log-density; card: {card_path(args.out)}"
    )
    return 0
