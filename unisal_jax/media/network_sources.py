"""Videos from the network, by FFmpeg: which protocols and options each kind of address gets."""

import contextlib
import os
import ssl
import time
from collections.abc import Generator
from dataclasses import replace

import av

from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_ANSWER_SECONDS, MAX_SILENT_SECONDS
from unisal_jax.media.addresses import Address
from unisal_jax.media.frames import Frame
from unisal_jax.media.video_file import METADATA, OPTIONS, SILENT, open_container, reason_of
from unisal_jax.media.video_source import VideoFile

# A server may not send the reader on to another address, which could be one inside the user's own network.
_HTTP = {**OPTIONS, "max_redirects": "0"}
# Since FFmpeg 8.1. Earlier ones do not know the option, and follow.
_FOLLOWS_NO_REDIRECT = (62, 12, 0)
_BY_SCHEME = {
    "http": {**_HTTP, "protocol_whitelist": "http,tcp,httpproxy"},
    "https": {**_HTTP, "protocol_whitelist": "https,tls,tcp,httpproxy", "tls_verify": "1"},
    # All in one connection: the images come from nowhere but the server that was named.
    "rtsp": {
        **OPTIONS,
        "format_whitelist": "rtsp,mpegts",
        "protocol_whitelist": "tcp",
        "rtsp_transport": "tcp",
        "allowed_media_types": "video",
    },
}


def open_address(address: Address) -> VideoFile:
    """Opens a video on the network.

    Raises:
      UnisalError: it does not answer in time, is no video, is a playlist, or leads on to another address.
    """
    if address.scheme != "rtsp" and av.library_versions["libavformat"] < _FOLLOWS_NO_REDIRECT:
        raise UnisalError(f"{address}: needs a PyAV with FFmpeg 8.1; install it with: pip install -U av")
    options = dict(_BY_SCHEME[address.scheme])
    if address.scheme == "https" and (certificates := _certificates()):
        options["ca_file"] = certificates
    began = time.monotonic()
    try:
        container = av.open(
            address.url, options=options, timeout=(MAX_ANSWER_SECONDS, MAX_SILENT_SECONDS), **METADATA
        )
    except av.error.FFmpegError as error:
        # FFmpeg says of RTSP that falls silent that its data are invalid.
        late = time.monotonic() - began >= MAX_ANSWER_SECONDS
        why = f"({SILENT})" if late else f"({reason_of(error)}){_hint(address, error)}"
        raise UnisalError(f"{address}: cannot be opened {why}") from None
    found = open_container(address, container)
    # A stream that falls silent has ended, as a camera that is unplugged.
    return replace(found, frames=_until_silence(found.frames)) if address.scheme == "rtsp" else found


def _until_silence(frames: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
    given = False
    with contextlib.closing(frames):
        try:
            for each in frames:
                yield each
                given = True
        except UnisalError:
            if not given:
                raise


def _certificates() -> str | None:
    """The file of the authorities that this system trusts, if it has one."""
    paths = ssl.get_default_verify_paths()
    return next(
        (path for path in (paths.cafile, paths.openssl_cafile) if path and os.path.isfile(path)), None
    )


def _hint(address: Address, error: av.error.FFmpegError) -> str:
    if isinstance(error, (av.error.InvalidDataError, av.error.ArgumentError)) and address.scheme != "rtsp":
        return "; playlists are not read: name the video itself"
    if address.scheme != "rtsp" and isinstance(error, av.error.OSError):
        tls = ", and a certificate has to be one that is trusted" if address.scheme == "https" else ""
        return f"; redirects are not followed{tls}"
    return ""
