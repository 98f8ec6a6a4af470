"""A window that shows a video's overlay as it is predicted."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.overlay import overlay
from unisal_jax.media.sources import MediaSource
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.predict.film import Predicted
from unisal_jax.predict.outputs import Enough, FrameResults, PredictionFiles

_ESCAPE = 27


class Window:
    """A window on the screen.

    Args:
      title: of the window.
      opacity: of the heat, 0 to 1.

    Raises:
      UnisalError: there is no display, or the installed OpenCV does not support windows.
    """

    def __init__(self, title: str, opacity: float):
        self._title, self._opacity = title, opacity
        # Some builds of OpenCV abort the process if there is no display.
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UnisalError("--show: there is no display (DISPLAY is not set)")
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise UnisalError(
                "--show: this OpenCV does not support windows; install opencv-python instead of "
                "opencv-python-headless"
            ) from error

    def show(self, frame: np.ndarray, density: np.ndarray) -> None:
        """Shows a frame, uint8 RGB [height, width, 3], with its density.

        Raises:
          Enough: the user pressed q or Escape, or closed the window.
        """
        cv2.imshow(self._title, overlay(frame, density, self._opacity)[..., ::-1])
        pressed = cv2.waitKey(1) & 0xFF
        try:
            closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) == 0.0
        except cv2.error:  # raised by Qt if it was the only window
            closed = True
        if closed or pressed in (_ESCAPE, ord("q")):
            raise Enough

    def close(self) -> None:
        """Closes the window, if it is still open."""
        with contextlib.suppress(cv2.error):
            cv2.destroyWindow(self._title)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Results that are written to `files`; those of videos are also shown in a window."""

    files: PredictionFiles

    @property
    def film(self) -> str | None:
        """As for `files`."""
        return self.files.film

    def image(
        self, source: MediaSource, image: np.ndarray, log_density: np.ndarray, about: dict[str, Any]
    ) -> None:
        """Writes an image's files."""
        self.files.image(source, image, log_density, about)

    @contextlib.contextmanager
    def video(self, source: MediaSource, film: FilmInfo, about: dict[str, Any]) -> Iterator["_Shown"]:
        """Opens a video's files and its window."""
        with (
            contextlib.closing(Window(source.name, self.files.drawing.opacity)) as window,
            self.files.video(source, film, about) as written,
        ):
            yield _Shown(window, written)


@dataclasses.dataclass(frozen=True)
class _Shown:
    window: Window
    written: FrameResults

    def write(self, predicted: Predicted, seconds: float | None = None) -> None:
        self.written.write(predicted, seconds)
        frame = predicted.frame
        self.window.show(frame.rgb(), np.exp(resize_log_density(predicted.log_density, frame.size)))
