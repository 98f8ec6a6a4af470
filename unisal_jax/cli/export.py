"""`unisal export`: exports the network to a file, or a web page, that runs without this package."""

import argparse
from pathlib import Path
from typing import Literal

from unisal_jax.cli import checks, flags
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.files import check_new_folder


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="file to write, described by OUT.json; for web: a new folder"
    )
    parser.add_argument(
        "--format",
        choices=("onnx", "stablehlo", "tflite", "web"),
        required=True,
        help="file format; web: a folder with a page that runs the model in the browser",
    )
    flags.add_weights(parser)
    parser.add_argument(
        "--domain", help="domain whose parameters to use (default: salicon; with --streaming dhf1k)"
    )
    parser.add_argument(
        "--input-size",
        type=_input_size,
        metavar="HxW|any",
        help="size of the images (default: the domain's); any: all multiples of 32",
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
    flags.add_runtime(parser)
    flags.add_examples(
        parser,
        "unisal export unisal.onnx --format onnx --uint8 --streaming",
        "unisal export page --format web",
    )
    parser.set_defaults(check=check, run=run)


def _input_size(text: str) -> Size | Literal["any"]:
    return "any" if text == "any" else flags.input_size(text)


def _batch(text: str) -> int | Literal["any"]:
    return "any" if text == "any" else flags.positive(text)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    checks.check_weights(args.weights, args.domain)
    if args.format == "web":
        _check_web(args)
    elif args.runtime is not None:
        raise UnisalError("--runtime: requires --format web")
    else:
        checks.check_file_to_write_anywhere(args.out)
    if args.format == "stablehlo":
        checks.check_extra("--format stablehlo", "export", "flatbuffers")
    if args.format == "tflite":
        checks.check_extra("--format tflite", "tflite", "ai_edge_litert", "litert_converter")


def _check_web(args: argparse.Namespace) -> None:
    from unisal_jax.export.web_runtime import get_tarball

    given = {
        "--input-size": args.input_size is not None,
        "--batch": args.batch != 1,
        "--streaming": args.streaming,
        "--uint8": args.uint8,
    }
    for flag, is_given in given.items():
        if is_given:
            raise UnisalError(
                f"{flag}: cannot be combined with --format web, which takes images and films of any size"
            )
    check_new_folder(args.out)
    checks.check_file_to_write_anywhere(args.out)
    get_tarball(args.runtime)


def run(args: argparse.Namespace) -> int:
    """Exports, checks the file against the network, and prints what was written."""
    if args.format == "web":
        return _run_web(args)
    from unisal_jax.export.run import ExportOptions, card_path, export

    options = ExportOptions(args.format, args.domain, args.input_size, args.batch, args.streaming, args.uint8)
    card = export(args.weights, args.out, options)
    print(
        f"{args.out}: {card['artifact']['bytes'] / 1e6:.1f} MB, domain {card['domain']}, "
        f"at most {card['difference']:.1g} from the network in log-density; card: {card_path(args.out)}"
    )
    return 0


def _run_web(args: argparse.Namespace) -> int:
    from unisal_jax.export.web_page import export_web

    written = export_web(args.weights, args.out, args.domain, args.runtime)
    domains = " and ".join(dict.fromkeys(written.domains))
    print(
        f"{args.out}: {written.size / 1e6:.0f} MB, of which a browser loads {written.first_load / 1e6:.0f} "
        f"for its first image; domains {domains}, at most {written.difference:.1g} from the network in "
        f"log-density; to see it: python -m http.server --directory {args.out}"
    )
    return 0
