"""Addresses of videos on the network, and how they are shown and named without their secrets."""

import re
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from unisal_jax.errors import UnisalError
from unisal_jax.media.formats import IMAGE_SUFFIXES

_SCHEME = re.compile(r"(rtsp|https?)://", re.IGNORECASE)


class Address(str):
    """An address, rtsp://, http:// or https://, that shows neither user, password nor query.

    As a text it is what may be shown and written. Making one is what allows it to be read: texts that look
    like addresses are none.

    Attributes:
      url: all of it.
      scheme: "rtsp", "http" or "https".
      name: for outputs: the stem of the path's last part, or the host.

    Raises:
      UnisalError: not such an address, or one of an image.
    """

    url: str
    scheme: str
    name: str

    def __new__(cls, url: str) -> "Address":
        shown, parts = _parse(url)
        made = super().__new__(cls, shown)
        last = PurePosixPath(unquote(parts.path))
        if last.suffix.lower() in IMAGE_SUFFIXES:
            raise UnisalError(f"{shown}: images are not read from the network; save it as a file first")
        made.url, made.scheme = url, parts.scheme
        made.name = re.sub(r"[^\w.-]", "_", last.stem or str(parts.hostname))
        return made

    def __getnewargs__(self) -> tuple[str]:
        return (self.url,)


def is_network(text: str) -> bool:
    """Whether a text has the form of an address that can be read."""
    return _SCHEME.match(text) is not None


def shown(text: str) -> str:
    """An address as it may be shown.

    Raises:
      UnisalError: it is damaged.
    """
    return _parse(text)[0]


def allowed(text: str, allow_network: bool) -> Address:
    """The address that a text names.

    Raises:
      UnisalError: the network is not to be used, or as for `Address`.
    """
    if not allow_network:
        raise UnisalError(f"{shown(text)}: is on the network, which is used with --allow-network alone")
    return Address(text)


def _parse(url: str) -> tuple[str, SplitResult]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not is_network(url) or not url.isprintable():
        # Not the text itself, which may hold a password.
        raise UnisalError("an address has to be rtsp://HOST/PATH, http://HOST/PATH or https://HOST/PATH")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}", parts
