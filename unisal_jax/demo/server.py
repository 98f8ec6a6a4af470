"""A static server for the exported page, with the headers that let the page use threads."""

import contextlib
import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from unisal_jax.errors import UnisalError

FIRST_PORT, _PORTS = 7860, 100

_HEADERS = {
    # Threads share memory, which browsers allow a page that is isolated from all others.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Not from the system's table, which on some machines is wrong: a browser runs no script that is text/plain.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "unisal", ""

    def guess_type(self, path: str) -> str:  # type: ignore[override]
        return _TYPES.get(Path(path).suffix, "application/octet-stream")

    def list_directory(self, path: object) -> None:
        self.send_error(404)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *args: object) -> None:
        """Says nothing: the command's output is the address."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Windows would let two programs listen at one port.
    allow_reuse_address = os.name != "nt"

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: a browser that closes a tab ends its connections."""


@contextlib.contextmanager
def serve(folder: Path, host: str, port: int | None) -> Iterator[str]:
    """Serves the files of a folder while the block runs.

    Args:
      folder: that `export_web` wrote.
      host: address to listen at.
      port: None for the first free one from `FIRST_PORT` on.

    Yields:
      The page's address.

    Raises:
      UnisalError: it cannot listen there.
    """
    server = _bound(functools.partial(_Handler, directory=str(folder)), host, port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _bound(handler: object, host: str, port: int | None) -> _Server:
    ports = [port] if port is not None else range(FIRST_PORT, FIRST_PORT + _PORTS)
    reason: Exception | None = None
    for each in ports:
        try:
            return _Server((host, each), handler)  # type: ignore[arg-type]
        except (OSError, OverflowError) as error:
            reason = error
    shown = port if port is not None else f"{FIRST_PORT} to {FIRST_PORT + _PORTS - 1}"
    raise UnisalError(f"--host {host}, port {shown}: cannot listen there ({reason})") from reason
