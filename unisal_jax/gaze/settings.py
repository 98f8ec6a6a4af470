"""What is asked of an import, each with its default."""

import dataclasses
from typing import Any

Shown = str | tuple[float, float, float, float]
"""Where a stimulus lay on the screen: "fit" (as large as the screen allows, its aspect kept, in the middle),
"stretch" (over the whole screen), "actual" (its own pixels, in the middle), or left, upper edge, width and
height in the screen's pixels."""

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
"""What x and y may be: those of `Recording`, and "screen_up" (pixels, y from the screen's lower edge) and
"screen_centre_up" (pixels from the middle of the screen, y up, as PsychoPy's)."""


@dataclasses.dataclass(frozen=True)
class Ivt:
    """How raw gaze becomes fixations (`ivt.find_fixations`).

    The defaults are those of Olsen, The Tobii I-VT fixation filter, 2012.

    Attributes:
      velocity: degrees a second; slower gaze is a fixation.
      window: ms over which the velocity is taken.
      gap: ms; shorter losses of the eye are filled by a straight line.
      merge_time: ms; fixations with a shorter break between them are one,
      merge_degrees: if they lie no farther apart.
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
    """How files of trackers are read, and how what they hold becomes fixations on stimuli.

    Attributes:
      read: what `read.read` takes beside the path: format, columns, eye.
      shown: where the stimuli lay on the screen.
      screen: (height, width) in pixels; None where the files tell it.
      coordinates: of `SPACES`, in the place of what the reader takes for granted.
      stimulus: the stimulus of all rows that name none.
      clock: "stimulus" or "recording", what times count from, in the place of what the reader says.
      onset: ms from a viewing's beginning to the first frame of its film, and to time 0 of its image.
      fps: of films, in the place of their own times.
      first_frame: the number that files which tell a row's frame give to a film's first one.
      drop_first: drop each viewing's first fixation, on the cross that was shown before.
      screen_cm: (height, width) of the screen; the height is None where only the width is known.
      distance_cm: of the eyes from the screen.
      pixels_per_degree: of the screen, where it is known.
      ivt: for files of raw gaze.
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
