"""`unisal demo`: serves a demo page on this machine."""

import argparse
import contextlib
import threading

from unisal_jax.cli import checks, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument(
        "--port",
        type=flags.positive,
        metavar="N",
        help="port to listen on (default: the first free port from 7860)",
    )
    parser.add_argument(
        "--max-megabytes",
        type=flags.positive,
        default=200,
        metavar="N",
        help="largest upload in MB (default: 200); all files together may take ten times as much",
    )
    parser.add_argument(
        "--max-seconds",
        type=flags.positive,
        default=120,
        metavar="N",
        help="longest time to predict a clip; the page then shows the frames done so far (default: 120)",
    )
    flags.add_weights(parser)
    flags.add_engine(parser)
    flags.add_examples(parser, "unisal demo", "unisal demo --port 8000 --weights weights.safetensors")
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    checks.check_weights(args.weights)
    checks.check_extra("unisal demo", "demo", "gradio")


def run(args: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C."""
    from unisal_jax.demo.page import serve

    model = flags.load_model(args)
    with (
        contextlib.suppress(KeyboardInterrupt),
        serve(model, args.host, args.port, args.max_megabytes, args.max_seconds) as address,
    ):
        print(f"{address} (press Ctrl-C to stop)", flush=True)
        threading.Event().wait()
    return 0
