"""A window that shows a video's overlay as it is predicted."""

import os
import sys

import cv2
import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.media.overlay import overlay

_ESCAPE = 27


class Window:
    """A window on the screen.

    Args:
      title: of the window.
      opacity: of the heat, 0 to 1.
    Raises:
      UnisalError: there is no screen, or the OpenCV that is installed has no windows.
    """

    def __init__(self, title: str, opacity: float):
        self._title, self._opacity = title, opacity
        # Some builds of OpenCV end the whole process where there is no screen.
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UnisalError("--show: there is no screen (DISPLAY is not set)")
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise UnisalError(
                "--show: this OpenCV has no windows; install opencv-python in the place of "
                "opencv-python-headless"
            ) from error

    def show(self, frame: np.ndarray, density: np.ndarray) -> bool:
        """Shows a frame, uint8 RGB [height, width, 3], with its density; False once the user wants no more.

        That is q, Escape, or the window's own button.
        """
        cv2.imshow(self._title, overlay(frame, density, self._opacity)[..., ::-1])
        pressed = cv2.waitKey(1) & 0xFF
        return (
            pressed not in (_ESCAPE, ord("q"))
            and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) != 0.0
        )

    def close(self) -> None:
        """Takes the window away."""
        cv2.destroyWindow(self._title)
