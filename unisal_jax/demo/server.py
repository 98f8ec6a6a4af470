"""A static server for the exported page, with the headers that let the page use threads."""

import contextlib
import functools
import http.server
import ipaddress
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from unisal_jax.errors import UnisalError

FIRST_PORT, _PORTS = 7860, 100

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""The policy of index.html. As a header, it also applies to the worker, which receives the images."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    # Threads share memory, which browsers allow a page that is isolated from all others.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# The system's table is wrong on some machines, and browsers do not run scripts of type text/plain.
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

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        hosts = self.server.hosts  # type: ignore[attr-defined]
        if hosts is None or _is_own(self.headers.get("Host", ""), hosts):
            return True
        self.send_error(403, f"Open this page at {' or '.join(sorted(hosts))}")
        return False

    def send_head(self) -> object:  # type: ignore[override]
        try:
            return super().send_head()
        except ValueError:  # a path with a null byte
            self.send_error(404)
            return None

    def list_directory(self, path: object) -> None:
        self.send_error(404)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *args: object) -> None:
        """Logs nothing: the command prints only the address."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # On Windows, this would let two programs listen on one port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, host: str, port: int, handler: object) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)  # type: ignore[arg-type]
        is_local = ipaddress.ip_address(str(self.server_address[0])).is_loopback
        self.hosts = {host.lower(), "localhost"} if is_local else None

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores errors of connections, which end when a browser closes a tab."""


def _is_own(host: str, hosts: set[str]) -> bool:
    """Whether a Host header names this machine. Other sites can make their names resolve to it."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]").lower()
    if name in hosts or not name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def serve(folder: Path, host: str, port: int | None) -> Iterator[str]:
    """Serves the files of a folder while the block runs.

    Args:
      folder: a folder written by `export_web`.
      host: address to listen on.
      port: port to listen on; None for the first free one from `FIRST_PORT`.

    Yields:
      The page's address.

    Raises:
      UnisalError: the server cannot listen there.
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
    if not host:  # a socket would listen on all addresses
        raise UnisalError("--host is empty; name an address, such as 127.0.0.1")
    ports = [port] if port is not None else range(FIRST_PORT, FIRST_PORT + _PORTS)
    reason: Exception | None = None
    for each in ports:
        try:
            return _Server(host, each, handler)
        except (OSError, OverflowError) as error:
            reason = error
    shown = port if port is not None else f"{FIRST_PORT} to {FIRST_PORT + _PORTS - 1}"
    raise UnisalError(f"--host {host}, port {shown}: cannot listen there ({reason})") from reason
