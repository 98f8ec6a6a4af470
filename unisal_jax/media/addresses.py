"""Addresses of videos on the network, shown and named without passwords."""

import re
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from unisal_jax.errors import UnisalError
from unisal_jax.media.formats import IMAGE_SUFFIXES

_SCHEME = re.compile(r"(rtsp|https?)://", re.IGNORECASE)


class Address(str):
    """The address of a video: rtsp://, http:// or https://.

    As a string it omits user, password and query, so it is safe to print and store. Only an `Address` is
    opened on the network; a plain string that looks like an address is not.

    Attributes:
      url: the complete address.
      scheme: "rtsp", "http" or "https".
      name: for outputs: the stem of the path's last part, or the host.

    Raises:
      UnisalError: not such an address, or the address of an image.
    """

    url: str
    scheme: str
    name: str

    def __new__(cls, url: str) -> "Address":
        shown, parts = _parse(url)
        made = super().__new__(cls, shown)
        last = PurePosixPath(unquote(parts.path))
        if last.suffix.lower() in IMAGE_SUFFIXES:
            raise UnisalError(f"{shown}: images cannot be read from the network; download it to a file first")
        made.url, made.scheme = url, parts.scheme
        made.name = re.sub(r"[^\w.-]", "_", last.stem or str(parts.hostname))
        return made

    def __getnewargs__(self) -> tuple[str]:
        return (self.url,)


def is_network(text: str) -> bool:
    """Whether a string has the form of an address that can be read."""
    return _SCHEME.match(text) is not None


def shown(text: str) -> str:
    """Returns an address without user, password and query.

    Raises:
      UnisalError: the address is malformed.
    """
    return _parse(text)[0]


def allowed(text: str, allow_network: bool) -> Address:
    """Returns the address that a string names.

    Raises:
      UnisalError: network access is not allowed, or as for `Address`.
    """
    if not allow_network:
        raise UnisalError(f"{shown(text)}: is on the network; pass --allow-network to read it")
    return Address(text)


def _parse(url: str) -> tuple[str, SplitResult]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not is_network(url) or not url.isprintable():
        # Do not print the address itself: it may hold a password.
        raise UnisalError("an address must be rtsp://HOST/PATH, http://HOST/PATH or https://HOST/PATH")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}", parts
