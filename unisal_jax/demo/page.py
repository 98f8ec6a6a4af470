"""The demo's page in Gradio: a picture or clip in, its heat beside it; and a camera."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.demo.desk import Desk, Live, Result
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import IMAGE_SUFFIXES
from unisal_jax.media.video import VIDEO_SUFFIXES
from unisal_jax.predict.model import SaliencyModel

_USUAL = "usual"
# A camera's frame is asked for this often, in seconds; slower machines take what they can.
_CAMERA_EVERY = 0.05
_CAMERA_SECONDS = 600
_WAITING = 16
# Without the button that shares: nothing leaves the machine.
_IMAGE: dict[str, Any] = {"interactive": False, "height": 420, "buttons": ["download", "fullscreen"]}
_VIDEO: dict[str, Any] = {"interactive": False, "height": 420, "buttons": ["download"]}
# Of uploads and of what Gradio keeps of results, in seconds: looked for, and removed after.
_CLEAN_EVERY, _KEPT = 600, 3600


@contextlib.contextmanager
def serve(
    model: SaliencyModel, host: str, port: int | None, max_megabytes: int, max_seconds: float
) -> Iterator[str]:
    """Serves the page while the block runs.

    Everything that it keeps lies in a temporary folder, which is removed at the end. Nothing outside this
    folder is served, and nothing is sent elsewhere.

    Args:
      model: the network.
      host: address to listen at; 127.0.0.1 is seen by this machine alone.
      port: None for the first free one from 7860 on.
      max_megabytes: of one upload.
      max_seconds: of a clip's prediction.
    Yields:
      The page's address.
    Raises:
      UnisalError: the extra `demo` is missing, or host and port cannot be listened at.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise UnisalError("unisal demo needs an extra: pip install 'unisal-jax[demo]'") from error

    with tempfile.TemporaryDirectory(prefix="unisal-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
        page = _page(gradio, Desk(model, folder, max_seconds))
        page.queue(max_size=_WAITING)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                max_file_size=max_megabytes * 1_000_000,
                allowed_paths=[str(folder)],
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
        try:
            yield address
        finally:
            page.close(verbose=False)


def _page(gradio: Any, desk: Desk) -> Any:
    with gradio.Blocks(
        title="Where do people look?", analytics_enabled=False, delete_cache=(_CLEAN_EVERY, _KEPT)
    ) as page:
        gradio.Markdown("# Where do people look?\nUNISAL predicts it, in pictures and in video.")
        with gradio.Row():
            domain = gradio.Dropdown(
                [_USUAL, *desk.model.domains],
                value=_USUAL,
                label="Domain",
                info="whose parameters; usual: of pictures for pictures, of video for video",
            )
            opacity = gradio.Slider(0, 1, 0.7, step=0.05, label="Opacity of the heat")
        with gradio.Tab("Picture or clip"):
            _upload_tab(gradio, desk, domain, opacity)
        with gradio.Tab("Camera"):
            _camera_tab(gradio, desk, domain, opacity)
    return page


def _upload_tab(gradio: Any, desk: Desk, domain: Any, opacity: Any) -> None:
    kept = gradio.State(None, time_to_live=_KEPT, delete_callback=desk.forget)
    with gradio.Row():
        with gradio.Column(scale=1):
            upload = gradio.File(
                label="A picture or a clip",
                file_types=sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES),
                height=140,
                elem_id="upload",
            )
            button = gradio.Button("Predict", variant="primary", elem_id="predict")
            samples = [[str(path)] for path in desk.samples()]
            gradio.Examples(samples, [upload], label="Or one of these", elem_id="samples")
        with gradio.Column(scale=3):
            with gradio.Row():
                picture = gradio.Image(label="Picture", elem_id="picture", **_IMAGE)
                heat = gradio.Image(label="Heat", elem_id="heat", **_IMAGE)
                clip = gradio.Video(label="Clip", visible=False, elem_id="clip", **_VIDEO)
                heat_clip = gradio.Video(label="Heat", visible=False, elem_id="heat_clip", **_VIDEO)
            summary = gradio.Markdown(elem_id="summary")
            with gradio.Row():
                maps = gradio.DownloadButton("Map", interactive=False, elem_id="map")
                facts = gradio.DownloadButton("JSON", interactive=False, elem_id="facts")

    def predict(path: str | None, domain: str, opacity: float, before: Result | None) -> dict[Any, Any]:
        if path is None:
            return {summary: ""}
        try:
            result = desk.predict(path, _name(domain), opacity)
        except UnisalError as error:
            raise gradio.Error(str(error), print_exception=False, title="This file cannot be used") from error
        desk.forget(before)
        image = result.source.kind == "image"
        source, shown = str(result.source.path), str(result.overlay)
        return {
            kept: result,
            picture: gradio.Image(source if image else None, visible=image),
            heat: gradio.Image(shown if image else None, visible=image),
            clip: gradio.Video(None if image else source, visible=not image),
            heat_clip: gradio.Video(None if image else shown, visible=not image),
            summary: result.summary,
            maps: gradio.DownloadButton("Map" if image else "Maps", value=str(result.map), interactive=True),
            facts: gradio.DownloadButton("JSON", value=str(result.facts), interactive=True),
        }

    def fade(opacity: float, result: Result | None) -> Any:
        if result is None or result.raw is None:
            return gradio.skip()
        return desk.overlay(result, opacity)

    outputs = [kept, picture, heat, clip, heat_clip, summary, maps, facts]
    gradio.on(
        [upload.change, button.click],
        predict,
        [upload, domain, opacity, kept],
        outputs,
        concurrency_limit=1,
        api_visibility="private",
    )
    opacity.release(fade, [opacity, kept], heat, show_progress="hidden", api_visibility="private")


def _camera_tab(gradio: Any, desk: Desk, domain: Any, opacity: Any) -> None:
    live = gradio.State(None)
    with gradio.Row():
        camera = gradio.Image(label="Camera", sources=["webcam"], streaming=True, elem_id="camera")
        view = gradio.Image(label="Heat", format="jpeg", elem_id="camera_heat", **_IMAGE)
    rate = gradio.Markdown(elem_id="rate")

    def step(
        frame: np.ndarray | None, domain: str, opacity: float, live: Live | None
    ) -> tuple[np.ndarray | None, str, Live | None]:
        if frame is None:
            return None, "", None
        live = live or Live(desk.model)
        shown, frames_a_second = live(frame, _name(domain), opacity)
        return shown, "" if frames_a_second is None else f"{frames_a_second:.1f} frames a second", live

    camera.stream(
        step,
        [camera, domain, opacity, live],
        [view, rate, live],
        stream_every=_CAMERA_EVERY,
        time_limit=_CAMERA_SECONDS,
        concurrency_limit=1,
        show_progress="hidden",
        api_visibility="private",
    )


def _name(domain: str) -> str | None:
    return None if domain == _USUAL else domain
