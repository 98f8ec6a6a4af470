"""The demo's page in Gradio: an image or clip in, its heat beside it; and a camera."""

import base64
import contextlib
import html
import math
import os
import queue
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unisal_jax.demo.desk import Desk, Live, Result, Stopped
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import IMAGE_SUFFIXES
from unisal_jax.media.video import VIDEO_SUFFIXES
from unisal_jax.packages import install_command
from unisal_jax.predict.model import SaliencyModel

_USUAL = "usual"
# A camera's frame is asked for this often, in seconds; slower machines take what they can.
_CAMERA_EVERY = 0.05
_CAMERA_SECONDS, _CAMERAS = 600, 4
_WAITING, _SESSIONS = 16, 1000
_HEIGHT = 420
# Without the button that shares: nothing leaves the machine.
_IMAGE: dict[str, Any] = {"interactive": False, "height": _HEIGHT}
_VIDEO: dict[str, Any] = {"interactive": False, "height": _HEIGHT}
# Of uploads and results, in seconds: looked for, and removed after.
_CLEAN_EVERY, _KEPT = 60, 3600
# Bytes of all that is kept, in uploads of the largest size.
_KEPT_UPLOADS = 10
_TOLD_EVERY = 0.2
_CSS = f"""
/* The upload is not served: no link to it. */
#upload .download {{ display: none; }}
#camera, #camera_heat {{ height: {_HEIGHT}px; }}
#camera video, #camera_heat img {{ object-fit: contain; width: 100%; height: 100%; }}
#summary .error {{ color: #b91c1c; font-weight: 600; overflow-wrap: anywhere; }}
.dark #summary .error {{ color: #fca5a5; }}
#summary progress {{ width: 100%; }}
"""


@contextlib.contextmanager
def serve(
    model: SaliencyModel, host: str, port: int | None, max_megabytes: int, max_seconds: float
) -> Iterator[str]:
    """Serves the page while the block runs.

    Everything that it keeps lies in a temporary folder, which is removed at the end. Of this folder only
    results are served, nothing outside it, and nothing is sent elsewhere.

    Args:
      model: the network.
      host: address to listen at; 127.0.0.1 is seen by this machine alone.
      port: None for the first free one from 7860 on.
      max_megabytes: of one upload; all files together are kept below ten times as much.
      max_seconds: of a clip's prediction.

    Yields:
      The page's address.

    Raises:
      UnisalError: the extra `demo` is missing, or host and port cannot be listened at.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    max_bytes = max_megabytes * 1_000_000
    with tempfile.TemporaryDirectory(prefix="unisal-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        # Before the import: Gradio then takes the folder in which it makes others.
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        try:
            import gradio
            from starlette.middleware import Middleware
        except ImportError as error:
            raise UnisalError(
                f"unisal demo requires gradio; install it with: {install_command('demo')}"
            ) from error
        from unisal_jax.demo.door import Door

        desk = Desk(model, folder, max_seconds, _KEPT_UPLOADS * max_bytes)
        page = _page(
            gradio,
            desk,
            f"At most {max_megabytes} MB. The prediction of a clip stops after {max_seconds:g} s.",
        )
        page.queue(max_size=_WAITING)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                max_file_size=max_bytes,
                app_kwargs={"middleware": [Middleware(Door, desk=desk, max_bytes=max_bytes)]},
                state_session_capacity=_SESSIONS,
                css=_CSS,
                # "Record" is what Gradio calls it; nothing is recorded.
                i18n=gradio.I18n(en={"audio.record": "Start"}),
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                footer_links=[],
            )
        except (OSError, ValueError) as error:
            raise UnisalError(
                f"--host {host}, --port {port or 'any'}: cannot be listened at ({error})"
            ) from error
        ended = threading.Event()
        threading.Thread(target=_sweep, args=(desk, ended), daemon=True).start()
        try:
            yield address
        finally:
            ended.set()
            desk.close()
            page.close(verbose=False)


def _sweep(desk: Desk, ended: threading.Event) -> None:
    while not ended.wait(_CLEAN_EVERY):
        desk.sweep(_KEPT)


def _page(gradio: Any, desk: Desk, limits: str) -> Any:
    with gradio.Blocks(title="Where do people look?", analytics_enabled=False) as page:
        gradio.Markdown("# Where do people look?\nUNISAL predicts it, in images and in video.")
        with gradio.Row():
            domain = gradio.Dropdown(
                [_USUAL, *desk.model.domains],
                value=_USUAL,
                label="Domain",
                info="The dataset whose parameters are used; usual: the default for images or for video.",
                elem_id="domain",
            )
            opacity = gradio.Slider(0, 1, 0.7, step=0.05, label="Opacity of the heat", elem_id="opacity")
        with gradio.Tab("Image or clip"):
            _upload_tab(gradio, page, desk, domain, opacity, limits)
        with gradio.Tab("Camera"):
            _camera_tab(gradio, desk, domain, opacity)
    return page


def _upload_tab(gradio: Any, page: Any, desk: Desk, domain: Any, opacity: Any, limits: str) -> None:
    # By session. Not in Gradio's state, which outlives a closed tab by an hour.
    kept: dict[str, Result] = {}
    photograph, short_clip = desk.samples()
    with gradio.Row():
        with gradio.Column(scale=1, min_width=280):
            upload = gradio.File(
                label="An image or a clip",
                file_types=sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES),
                height=140,
                elem_id="upload",
            )
            gradio.Markdown(f"{limits}\n\nOr try one of these:")
            with gradio.Row():
                samples = [
                    (gradio.Button(label, size="sm", min_width=100, elem_id=f"sample_{path.stem}"), path)
                    for label, path in (("Photograph", photograph), ("Clip", short_clip))
                ]
            button = gradio.Button("Predict again", variant="primary", interactive=False, elem_id="predict")
        with gradio.Column(scale=3):
            summary = gradio.HTML(
                _text("Upload an image or a clip: its heat appears here."), elem_id="summary"
            )
            with gradio.Row():
                image = gradio.Image(label="Image", elem_id="image", buttons=["fullscreen"], **_IMAGE)
                heat = gradio.Image(
                    label="Heat", elem_id="heat", buttons=["download", "fullscreen"], **_IMAGE
                )
                clip = gradio.Video(label="Clip", visible=False, elem_id="clip", buttons=[], **_VIDEO)
                heat_clip = gradio.Video(
                    label="Heat", visible=False, elem_id="heat_clip", buttons=["download"], **_VIDEO
                )
            with gradio.Row():
                overlay = gradio.DownloadButton("Save heat", interactive=False, elem_id="overlay")
                maps = gradio.DownloadButton("Save map", interactive=False, elem_id="map")
                facts = gradio.DownloadButton("Save JSON", interactive=False, elem_id="facts")

    def shown(result: Result) -> dict[Any, Any]:
        still = result.source.kind == "image"
        view, over = str(result.view), str(result.overlay)
        return {
            image: gradio.Image(view if still else None, visible=still),
            heat: gradio.Image(over if still else None, visible=still),
            clip: gradio.Video(None if still else view, visible=not still),
            heat_clip: gradio.Video(None if still else over, visible=not still),
            summary: _text(result.summary),
            button: gradio.Button(interactive=True),
            overlay: gradio.DownloadButton(value=over, interactive=True),
            maps: gradio.DownloadButton(
                "Save map" if still else "Save maps", value=str(result.map), interactive=True
            ),
            facts: gradio.DownloadButton(value=str(result.facts), interactive=True),
        }

    def nothing(text: str) -> dict[Any, Any]:
        """The page without a result, so that no heat of another input stands beside an error."""
        off = {each: gradio.DownloadButton(value=None, interactive=False) for each in (overlay, maps, facts)}
        views = {each: None for each in (image, heat, clip, heat_clip)}
        return {**views, **off, summary: text, button: gradio.Button(interactive=False)}

    def work(path: str, session: str, domain: Any, opacity: Any) -> Iterator[dict[Any, Any]]:
        before = kept.pop(session, None)
        again = before is not None and str(before.source.path) == path
        desk.forget(before, keep_upload=again)
        yield {summary: _text("Predicting ...")}
        try:
            for step in _steps(desk, path, _domain(desk, domain), _share(opacity)):
                if isinstance(step, Result):
                    kept[session] = step
                    yield shown(step)
                else:
                    yield {summary: _progress(*step)}
        except Stopped:
            return  # the page closes
        except UnisalError as error:
            desk.discard(path)
            yield nothing(_error(str(error)))
        except Exception:
            # Said where the server runs, and not to the visitor.
            traceback.print_exc(file=sys.stderr)
            desk.discard(path)
            yield nothing(_error("Something went wrong here. The server's log says more."))

    def predict(
        file: dict | None, domain: Any, opacity: Any, request: gradio.Request
    ) -> Iterator[dict[Any, Any]]:
        path = file.get("path") if isinstance(file, dict) else None
        if isinstance(path, str) and desk.is_upload(path):
            yield from work(path, _session(request), domain, opacity)

    def predict_again(domain: Any, opacity: Any, request: gradio.Request) -> Iterator[dict[Any, Any]]:
        result = kept.get(_session(request))
        if result is None:
            yield nothing(_error("The upload is gone. Upload it again."))
        else:
            yield from work(str(result.source.path), _session(request), domain, opacity)

    def sample(path: Path) -> Any:
        def predict_sample(domain: Any, opacity: Any, request: gradio.Request) -> Iterator[dict[Any, Any]]:
            yield from work(str(path), _session(request), domain, opacity)

        return predict_sample

    def fade(opacity: Any, request: gradio.Request) -> dict[Any, Any]:
        result = kept.get(_session(request))
        if result is None or result.raw is None:
            return {summary: gradio.skip()}
        path = str(desk.fade(result, _share(opacity)))
        return {heat: path, overlay: gradio.DownloadButton(value=path)}

    def clear(request: gradio.Request) -> dict[Any, Any]:
        desk.forget(kept.pop(_session(request), None))
        return nothing(_text("Removed."))

    def leave(request: gradio.Request) -> None:
        desk.forget(kept.pop(_session(request), None))

    outputs = [image, heat, clip, heat_clip, summary, button, overlay, maps, facts]
    # Gradio's own reading of inputs is turned off: it would open the upload.
    usual: dict[str, Any] = {
        "preprocess": False,
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": 1,
        "concurrency_id": "predict",
    }
    upload.upload(predict, [upload, domain, opacity], outputs, **usual)
    button.click(predict_again, [domain, opacity], outputs, **usual)
    for each, path in samples:
        each.click(lambda: None, None, upload, show_progress="hidden", api_visibility="private")
        each.click(sample(path), [domain, opacity], outputs, **usual)
    upload.clear(clear, None, outputs, **usual)
    opacity.release(fade, [opacity], [heat, overlay, summary], **(usual | {"concurrency_id": "fade"}))
    page.unload(leave)


def _camera_tab(gradio: Any, desk: Desk, domain: Any, opacity: Any) -> None:
    live = gradio.State(None, time_to_live=_KEPT)
    gradio.Markdown(
        "Allow the camera, then press the button below its image to start, and again to stop. "
        f"The first heat takes some seconds. It stops by itself after {_CAMERA_SECONDS // 60} minutes. "
        "Frames are not kept."
    )
    with gradio.Row():
        camera = gradio.Image(
            label="Camera", sources=["webcam"], streaming=True, height=_HEIGHT, elem_id="camera"
        )
        view = gradio.Image(label="Heat", elem_id="camera_heat", buttons=["fullscreen"], **_IMAGE)
    rate = gradio.HTML(_text(""), elem_id="rate")

    def step(
        frame: dict | None, domain: Any, opacity: Any, live: Live | None
    ) -> tuple[Any, str, Live | None]:
        url = frame.get("url") if isinstance(frame, dict) else None
        if not isinstance(url, str):
            return gradio.skip(), "", None
        try:
            live = live or Live(desk.model)
            shown, frames_a_second = live(desk.frame(url), _domain(desk, domain), _share(opacity))
        except UnisalError as error:
            return gradio.skip(), _error(str(error)), live
        text = "" if frames_a_second is None else f"{frames_a_second:.1f} frames a second"
        return {"url": _jpeg_url(shown)}, _text(text), live

    camera.stream(
        step,
        [camera, domain, opacity, live],
        [view, rate, live],
        # Frames come and go in messages; Gradio would read each, and write a file of each heat.
        preprocess=False,
        postprocess=False,
        stream_every=_CAMERA_EVERY,
        time_limit=_CAMERA_SECONDS,
        concurrency_limit=_CAMERAS,
        show_progress="hidden",
        api_visibility="private",
    )


def _steps(
    desk: Desk, path: str, domain: str | None, opacity: float
) -> Iterator[tuple[int, int | None] | Result]:
    """A prediction's progress (frames done, frames in all), now and then, and at last its result.

    It runs in a thread of its own, which ends soon where nobody takes the steps any longer.
    """
    steps: queue.SimpleQueue[tuple[int, int | None] | Result | BaseException] = queue.SimpleQueue()
    unwanted, told = threading.Event(), -math.inf

    def tell(done: int, total: int | None) -> None:
        nonlocal told
        if unwanted.is_set():
            raise Stopped
        if time.monotonic() - told > _TOLD_EVERY:
            told = time.monotonic()
            steps.put((done, total))

    def run() -> None:
        try:
            result = desk.predict(path, domain, opacity, tell)
        except BaseException as error:
            steps.put(error)
        else:
            if unwanted.is_set():
                desk.forget(result)
            steps.put(result)

    threading.Thread(target=run, daemon=True).start()
    try:
        while True:
            step = steps.get()
            if isinstance(step, BaseException):
                raise step
            yield step
            if isinstance(step, Result):
                return
    finally:
        unwanted.set()


def _session(request: Any) -> str:
    return str(request.session_hash)


# What a message holds may be anything: the page's own scripts are not the only ones to send it.


def _domain(desk: Desk, name: Any) -> str | None:
    if name == _USUAL:
        return None
    if name not in desk.model.domains:
        raise UnisalError("choose a domain of the list")
    return name


def _share(number: Any) -> float:
    return min(max(float(number), 0.0), 1.0) if isinstance(number, int | float) else 0.7


def _text(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _error(text: str) -> str:
    return f'<p class="error" role="alert">Error: {html.escape(text)}</p>'


def _progress(done: int, total: int | None) -> str:
    if total is None:
        return _text(f"frame {done}")
    # A header's count may be too low.
    total = max(done, total)
    return f'{_text(f"frame {done} of {total}")}<progress value="{done}" max="{total}"></progress>'


def _jpeg_url(image: np.ndarray) -> str:
    """uint8 RGB [H, W, 3] as a data URL."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
