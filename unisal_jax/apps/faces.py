"""Detects faces in frames with OpenCV's YuNet."""

from pathlib import Path

import cv2
import numpy as np

from unisal_jax.apps.boxes import Box
from unisal_jax.errors import UnisalError, one_line

FACE_MODEL_ADVICE = (
    "get YuNet from OpenCV Zoo (face_detection_yunet_2023mar.onnx or later, MIT licence): "
    "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"
)
# Side of the model's square input; the 2023 model supports no other.
_SIDE = 640
# Detections per second, and the margin around faces: YuNet's boxes end at the chin and the hairline, and
# faces move between detections.
_RATE, _MARGIN = 8.0, 0.15
_LOWEST_SCORE = 0.7


class Faces:
    """Detects faces every few frames and repeats the last result in between.

    Args:
      model: YuNet's file.
      fps: frames per second.

    Raises:
      UnisalError: the file does not exist, or is not such a model.
    """

    def __init__(self, model: Path, fps: float):
        if not model.is_file():
            raise UnisalError(f"{model}: no such file; {FACE_MODEL_ADVICE}")
        self._model = model
        # Silence OpenCV's log about its backends; the error below says what is wrong.
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._detector = cv2.FaceDetectorYN.create(str(model), "", (_SIDE, _SIDE), _LOWEST_SCORE)
            self._find(np.zeros((_SIDE, _SIDE, 3), np.uint8))
        except cv2.error as error:
            reason = one_line(error)
            raise UnisalError(
                f"{model}: not a face detection model ({reason}); {FACE_MODEL_ADVICE}"
            ) from error
        finally:
            cv2.utils.logging.setLogLevel(level)
        self._every = max(1, round(fps / _RATE))
        self._age = 0
        self._faces: tuple[Box, ...] = ()

    def add(self, frame: np.ndarray, cut: bool = False) -> tuple[Box, ...]:
        """Returns the faces in the next frame.

        Args:
          frame: uint8 RGB [height, width, 3].
          cut: whether the frame begins a new shot.
        """
        if cut or self._age % self._every == 0:
            self._age = 0
            self._faces = self._find(frame)
        self._age += 1
        return self._faces

    def _find(self, frame: np.ndarray) -> tuple[Box, ...]:
        height, width = frame.shape[:2]
        share = _SIDE / max(height, width)
        size = max(1, round(width * share)), max(1, round(height * share))
        square = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR)
        square[: size[1], : size[0]] = small[..., ::-1]
        _, found = self._detector.detect(square)
        boxes = []
        for left, top, wide, high in found[:, :4] / share if found is not None else ():
            across, down = _MARGIN * wide, _MARGIN * high
            first = round(max(left - across, 0)), round(max(top - down, 0))
            last = round(min(left + wide + across, width)), round(min(top + high + down, height))
            if last[0] > first[0] and last[1] > first[1]:
                boxes.append(Box(*first, last[0] - first[0], last[1] - first[1]))
        return tuple(boxes)
