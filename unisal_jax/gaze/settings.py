"""Settings of an import and their defaults."""

import dataclasses
from typing import Any

Shown = str | tuple[float, float, float, float]
"""Position of a stimulus on the screen: "fit" (as large as possible with its aspect, centred), "stretch" (the
whole screen), "actual" (its own pixels, centred), or left, top, width and height in the screen's pixels."""

SHOWN = ("fit", "stretch", "actual")
CLOCKS = ("stimulus", "recording")
SPACES = (
    "screen",
    "screen_fraction",
    "screen_up",
    "screen_centre_up",
    "stimulus",
    "stimulus_fraction",
    "stimulus_fraction_up",
)
"""Coordinates of x and y: those of `Recording`, "screen_up" (pixels, y from the screen's lower edge) and
"screen_centre_up" (pixels from the centre of the screen, y up, as in PsychoPy)."""


@dataclasses.dataclass(frozen=True)
class Ivt:
    """Thresholds for finding fixations in raw gaze (`ivt.find_fixations`).

    The defaults are those of Olsen, The Tobii I-VT fixation filter, 2012.

    Attributes:
      velocity: degrees per second; slower gaze is a fixation.
      window: ms over which the velocity is computed.
      gap: ms; shorter gaps are filled by linear interpolation.
      merge_time: ms; fixations with at most this break between them are merged,
      merge_degrees: if they are at most this far apart.
      minimum: ms; shorter fixations are dropped.
    """

    velocity: float = 30.0
    window: float = 20.0
    gap: float = 75.0
    merge_time: float = 75.0
    merge_degrees: float = 0.5
    minimum: float = 60.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings for reading trackers' files and mapping their contents to stimuli.

    Attributes:
      read: arguments of `read.read` besides the path: format, columns, eye.
      shown: position of the stimuli on the screen.
      screen: (height, width) in pixels; None to use that of the files.
      coordinates: one of `SPACES`; None to use the reader's.
      stimulus: stimulus of files that name none.
      clock: "stimulus" or "recording", the zero of times; None to use the reader's.
      onset: ms from the start of a viewing to the first frame of its video, or to time 0 of its image.
      fps: frame rate of videos; None to use their own times.
      first_frame: number of a video's first frame, in files with frame numbers.
      drop_first: whether to drop each viewing's first fixation, on the fixation cross.
      screen_cm: (height, width) of the screen; the height is None if only the width is known.
      distance_cm: distance of the eyes from the screen.
      pixels_per_degree: of the screen, if known.
      ivt: thresholds for files of raw gaze.
    """

    read: dict[str, Any] = dataclasses.field(default_factory=dict)
    shown: Shown = "fit"
    screen: tuple[int, int] | None = None
    coordinates: str | None = None
    stimulus: str | None = None
    clock: str | None = None
    onset: float = 0.0
    fps: float | None = None
    first_frame: int = 0
    drop_first: bool = False
    screen_cm: tuple[float | None, float] | None = None
    distance_cm: float | None = None
    pixels_per_degree: float | None = None
    ivt: Ivt = Ivt()
