"""The common result of all readers of trackers' files."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """The rows of one tracker's file: fixations, or samples if the file holds only raw gaze.

    Attributes:
      path: the file.
      format: its name in `formats.FORMATS`, such as "tobii".
      kind: "fixations" or "samples".
      space: of x and y: "screen" (pixels from the screen's upper left corner), "screen_fraction"
        (fractions of the screen, y down), "stimulus" (pixels of the stimulus), "stimulus_fraction"
        (fractions of it, y down) or "stimulus_fraction_up" (the same with y up).
      screen: (height, width) in pixels if the file holds it, else None.
      stimuli: name of each row's stimulus; "" if unknown.
      observers: name of each row's observer; "" if unknown.
      trials: name of each row's viewing of its stimulus by its observer; "" if unknown.
      start: float64 [n], ms.
      duration: float64 [n], ms; NaN for samples.
      clock: "stimulus" if `start` counts from the stimulus' onset, else "recording".
      x: float64 [n]; NaN where the tracker lost the eye.
      y: float64 [n]; NaN where the tracker lost the eye.
      dropped: reason -> number of rows dropped because the file marks them as invalid.
      notes: lines for the user, such as "both eyes: the mean of left and right".
      frames: float64 [n], the video frame of each row; None if the file has no frame numbers.
    """

    path: str
    format: str
    kind: str
    space: str
    screen: tuple[int, int] | None
    stimuli: list[str]
    observers: list[str]
    trials: list[str]
    start: np.ndarray
    duration: np.ndarray
    clock: str
    x: np.ndarray
    y: np.ndarray
    dropped: dict[str, int]
    notes: tuple[str, ...] = ()
    frames: np.ndarray | None = None
