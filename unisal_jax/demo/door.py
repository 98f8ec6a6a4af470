"""The demo's door: the requests that reach Gradio, and how much they may carry. The rest is refused.

Gradio serves many endpoints that this page does not use, reads uploads with every format of Pillow and
with FFmpeg's programs, and fetches files that a request names by URL. Only what the page's own scripts
ask for comes through here, and files only as the paths that an upload was answered with.
"""

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from unisal_jax.demo.desk import Desk

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_GET = re.compile(
    r"/(|theme\.css|favicon\.ico|manifest\.json|(assets|static)/[\w@./-]+"
    r"|gradio_api/(startup-events|queue/data|heartbeat/\w{1,64}))"
)
_POST = re.compile(r"/gradio_api/(queue/join|cancel|reset/?|stream/\w{1,64}(/close)?)")
_FILE = "/gradio_api/file="
_UPLOAD, _UPLOAD_PROGRESS = "/gradio_api/upload", "/gradio_api/upload_progress"
# What the page's scripts send, and Gradio needs of it.
_FIELDS = ("data", "event_id", "fn_index", "session_hash", "trigger_id")
_SESSION, _MAX_FUNCTIONS = re.compile(r"[\w-]{1,64}"), 1000
# A camera's frame in base64 is the most that a message carries.
_MAX_MESSAGE_BYTES = 12_000_000
_MESSAGE_SECONDS, _UPLOAD_SECONDS = 60, 900
# Of the form around an upload: boundaries and headers.
_FORM_BYTES = 64_000
_FRAME = re.compile(r"data:image/(jpeg|png|webp);base64,[A-Za-z0-9+/=]*")


class Door:
    """ASGI middleware around Gradio's app.

    Args:
      app: Gradio's.
      desk: keeps the uploads, and knows which of its files may be shown.
      max_bytes: of one upload.
    """

    def __init__(self, app: Any, desk: Desk, max_bytes: int):
        self._app, self._desk, self._max_bytes = app, desk, max_bytes
        self._arriving = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it to Gradio."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                answer = await self._answer(scope, receive, send)
            except (ClientDisconnect, TimeoutError):
                answer = _refusal(408, "The request did not arrive in time.")
            except _TooLarge:
                answer = _refusal(413, "The request is larger than this page accepts.")
            if answer is not None:
                await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> Response | None:
        """The answer; None where Gradio has given it."""
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD"):
            if path == _UPLOAD_PROGRESS:
                return Response(status_code=204)  # uploads do not go through Gradio, which would count them
            shown = path.startswith(_FILE) and self._desk.shows(path.removeprefix(_FILE))
            if shown or (_GET.fullmatch(path) and ".." not in path):
                return await self._app(scope, receive, send)
        elif method == "POST" and Request(scope).headers.get("sec-fetch-site", "none") not in (
            "same-origin",
            "none",
        ):
            return _refusal(403, "Not from this page.")
        elif method == "POST" and path == _UPLOAD:
            return await self._take(scope, receive)
        elif method == "POST" and _POST.fullmatch(path):
            async with asyncio.timeout(_MESSAGE_SECONDS):
                body = await _read(receive, _MAX_MESSAGE_BYTES)
            message = self._checked(body)
            if message is None:
                return _refusal(400, "Not a message of this page.")
            return await self._app(*_with_body(scope, message, receive), send)
        return _refusal(404, "Not found.")

    async def _take(self, scope: Message, receive: Receive) -> Response:
        """An upload of one file, kept by the desk; answered with its path, as Gradio would."""
        limit = self._max_bytes + _FORM_BYTES
        declared = Request(scope).headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            raise _TooLarge
        # Room for what is on its way already, however much of that has come.
        self._arriving += 1
        try:
            if not await asyncio.to_thread(self._desk.has_room, self._arriving * self._max_bytes):
                return _refusal(507, "This page holds as many files as it may. Try again later.")
            async with asyncio.timeout(_UPLOAD_SECONDS):
                # Parts of more than a megabyte go to files without a name, which no crash leaves behind.
                form = await Request(scope, _bounded(receive, limit)).form(max_files=1, max_fields=0)
            try:
                file = form.get("files")
                if file is None or isinstance(file, str) or not file.filename:
                    return _refusal(400, "One file is expected.")
                if file.size is None or file.size > self._max_bytes:
                    raise _TooLarge
                place = self._desk.place_for(file.filename)
                if place is None:
                    return _refusal(415, "Not an image or a video that this page reads.")
                await asyncio.to_thread(_write, file.file, place)
            finally:
                await form.close()
        except (HTTPException, MultiPartException):
            return _refusal(400, "The upload is damaged, or more than one file.")
        finally:
            self._arriving -= 1
        return JSONResponse([str(place)])

    def _checked(self, body: bytes) -> bytes | None:
        """A message's known fields; None where it is damaged or names a file that is not an upload."""
        try:
            message = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return None
        if not isinstance(message, dict):
            return None
        message = {name: message[name] for name in _FIELDS if name in message}
        session, number = message.get("session_hash", "x"), message.get("fn_index", 0)
        if not (isinstance(session, str) and _SESSION.fullmatch(session)):
            return None
        if type(number) is not int or not 0 <= number < _MAX_FUNCTIONS:
            return None
        waiting = list(message.values())
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                if not self._is_ours(value):
                    return None
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)
        return json.dumps(message).encode()

    def _is_ours(self, value: dict[str, Any]) -> bool:
        """Whether an object names no file, or names an upload, or is a camera's frame."""
        path, url = value.get("path"), value.get("url")
        if path is None:
            return url is None or (isinstance(url, str) and _FRAME.fullmatch(url) is not None)
        # Gradio's scripts add the address that an upload would have.
        return (
            isinstance(path, str)
            and self._desk.is_upload(path)
            and (url is None or (isinstance(url, str) and unquote(url).endswith(_FILE + path)))
        )


class _TooLarge(Exception):
    pass


def _refusal(status: int, text: str) -> Response:
    # Closed, because the rest of a refused request is not read.
    return PlainTextResponse(text, status, {"connection": "close"})


def _bounded(receive: Receive, limit: int) -> Receive:
    """Counts what comes, whatever its header says."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _TooLarge
        return message

    return counted


async def _read(receive: Receive, limit: int) -> bytes:
    receive, parts, more = _bounded(receive, limit), [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _with_body(scope: Message, body: bytes, receive: Receive) -> tuple[Message, Receive]:
    """The request with another body."""
    headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")]
    scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replaced() -> Message:
        return waiting.pop() if waiting else await receive()

    return scope, replaced


def _write(file: Any, place: Path) -> None:
    try:
        place.parent.mkdir(parents=True)
        with place.open("xb") as target:
            shutil.copyfileobj(file, target)
    except BaseException:
        shutil.rmtree(place.parent, ignore_errors=True)
        raise


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
