"""`unisal demo`: a page on this machine to try things on."""

import argparse
import contextlib
import threading

from unisal_jax.cli import checks, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument(
        "--port", type=flags.positive, metavar="N", help="default: the first free from 7860 on"
    )
    parser.add_argument(
        "--max-megabytes",
        type=flags.positive,
        default=200,
        metavar="N",
        help="of an upload (default: 200); all files together stay below ten times as much",
    )
    parser.add_argument(
        "--max-seconds",
        type=flags.positive,
        default=120,
        metavar="N",
        help="of a clip's prediction; what is done by then is shown (default: 120)",
    )
    flags.add_weights(parser)
    flags.add_engine(parser)
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses what is wrong before JAX is imported."""
    checks.check_weights(args.weights)
    checks.check_extra("unisal demo", "demo", "gradio")


def run(args: argparse.Namespace) -> int:
    """Serves the page until it is interrupted, which is its usual end."""
    from unisal_jax.demo.page import serve

    model = flags.load_model(args)
    with (
        contextlib.suppress(KeyboardInterrupt),
        serve(model, args.host, args.port, args.max_megabytes, args.max_seconds) as address,
    ):
        print(f"{address} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    return 0
