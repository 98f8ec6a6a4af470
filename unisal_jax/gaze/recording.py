"""What the readers of tracker files return, whatever the tracker."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """What one tracker file holds, row by row: fixations, or samples where the file holds raw gaze alone.

    Attributes:
      path: the file.
      format: its name in `formats.FORMATS`, such as "tobii".
      kind: "fixations" or "samples".
      space: of x and y: "screen" (pixels from the screen's upper left corner), "screen_fraction"
        (fractions of the screen, y down), "stimulus" (pixels of the stimulus), "stimulus_fraction"
        (fractions of it, y down) or "stimulus_fraction_up" (the same with y up).
      screen: (height, width) in pixels where the file tells it, else None.
      stimuli: name of each row's stimulus; "" where the file does not tell it.
      observers: name of each row's observer; "" where the file does not tell it.
      trials: name of each row's viewing of its stimulus by its observer; "" where the file does not tell it.
      start: float64 [n], ms.
      duration: float64 [n], ms; NaN for samples.
      clock: "stimulus" where `start` counts from the stimulus' onset, else "recording".
      x: float64 [n]; NaN where the tracker lost the eye.
      y: float64 [n]; NaN where the tracker lost the eye.
      dropped: reason -> number of rows that were left out because the file itself says so.
      notes: what a person should know, such as "both eyes: the mean of left and right".
      frames: float64 [n], the number of the video's frame in each row; None where the file has none.
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
