"""Opens videos on the network with FFmpeg, with the protocols and options for each scheme."""

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

# No redirects: they could lead to an address inside the user's own network.
_HTTP = {**OPTIONS, "max_redirects": "0"}
# The first version of libavformat (FFmpeg 8.1) with this option. Earlier ones always follow redirects.
_FOLLOWS_NO_REDIRECT = (62, 12, 0)
_BY_SCHEME = {
    "http": {**_HTTP, "protocol_whitelist": "http,tcp,httpproxy"},
    "https": {**_HTTP, "protocol_whitelist": "https,tls,tcp,httpproxy", "tls_verify": "1"},
    # Use a single TCP connection, so that frames come only from the named server.
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
      UnisalError: it does not answer in time, is not a video, is a playlist, or redirects to another address.
    """
    if address.scheme != "rtsp" and av.library_versions["libavformat"] < _FOLLOWS_NO_REDIRECT:
        raise UnisalError(f"{address}: requires PyAV with FFmpeg 8.1; install it with: pip install -U av")
    options = dict(_BY_SCHEME[address.scheme])
    if address.scheme == "https" and (certificates := _certificates()):
        options["ca_file"] = certificates
    began = time.monotonic()
    try:
        container = av.open(
            address.url, options=options, timeout=(MAX_ANSWER_SECONDS, MAX_SILENT_SECONDS), **METADATA
        )
    except av.error.FFmpegError as error:
        # If an RTSP server stops sending, FFmpeg reports invalid data instead of a timeout.
        late = time.monotonic() - began >= MAX_ANSWER_SECONDS
        why = f"({SILENT})" if late else f"({reason_of(error)}){_hint(address, error)}"
        raise UnisalError(f"{address}: cannot be opened {why}") from None
    found = open_container(address, container)
    # A stream that stops sending has ended, like an unplugged camera.
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
    """Returns the file of certificate authorities that this system trusts, if there is one."""
    paths = ssl.get_default_verify_paths()
    return next(
        (path for path in (paths.cafile, paths.openssl_cafile) if path and os.path.isfile(path)), None
    )


def _hint(address: Address, error: av.error.FFmpegError) -> str:
    if isinstance(error, (av.error.InvalidDataError, av.error.ArgumentError)) and address.scheme != "rtsp":
        return "; playlists cannot be read: name the video itself"
    if address.scheme != "rtsp" and isinstance(error, av.error.OSError):
        tls = ", and the certificate must be trusted" if address.scheme == "https" else ""
        return f"; redirects are not followed{tls}"
    return ""
