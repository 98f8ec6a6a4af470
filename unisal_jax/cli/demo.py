"""`unisal demo`: serves the page of `unisal export --format web` on this machine."""

import argparse
import contextlib
import sys
import tempfile
import threading
from pathlib import Path

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
    flags.add_weights(parser)
    parser.add_argument(
        "--domain", help="domain whose parameters to use (default: salicon for images, dhf1k for videos)"
    )
    flags.add_runtime(parser)
    flags.add_examples(parser, "unisal demo", "unisal demo --port 8000 --weights weights.safetensors")
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    from unisal_jax.export.web_runtime import get_tarball

    checks.check_weights(args.weights, args.domain)
    get_tarball(args.runtime)


def run(args: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C."""
    from unisal_jax.demo.server import serve
    from unisal_jax.export.web_page import export_web

    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="unisal-demo-") as folder:
        page = Path(folder) / "page"
        if sys.stderr.isatty():
            print("unisal demo: preparing the page", file=sys.stderr)
        export_web(args.weights, page, args.domain, args.runtime, checked=False)
        with serve(page, args.host, args.port) as address:
            print(f"{address} (press Ctrl-C to stop)", flush=True)
            threading.Event().wait()
    return 0
