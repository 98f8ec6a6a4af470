"""Parses the lines of an EyeLink ASC file: trials, fixations, samples. See `eyelink_asc`."""

import dataclasses
import math
import re
from array import array

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.gaze.columns import Numbers
from unisal_jax.gaze.head import decoded
from unisal_jax.gaze.names import media_name, media_path
from unisal_jax.limits import MAX_TABLE_NAMES, MAX_TABLE_ROWS

_LOADED = re.compile(r"!V (?:IMGLOAD (?:FILL|CENTER|TOP_LEFT)|VFRAME(?: -?[\d.]+){3}) +(.+?)(?: -?[\d.]+)*$")
_ONSET = re.compile(
    r"SYNCTIME|(?:stim\w*|image|img|picture|video|movie|display)[ _-]*(?:on|onset|start)(?![a-z])",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"!V TRIAL_VAR +(\S+) +(.+)")
_IMAGE = re.compile(
    r"(?:image|img|stimulus|stim|picture|scene|video|movie)(?:_?(?:file|name|filename))?", re.IGNORECASE
)
_OFFSET = re.compile(r"(-?\d+) +(.*)")
_SCREEN = re.compile(r"(?:DISPLAY|GAZE)_COORDS\W+([-\d.]+)[ ,]+([-\d.]+)[ ,]+([-\d.]+)[ ,]+([-\d.]+)")

_NOTHING = ("", "")
_HELD = 6 << 14
"""Number of texts held before they are parsed."""


@dataclasses.dataclass
class Trial:
    """The information in a trial's messages.

    Attributes:
      start: of its recording, ms; NaN if unknown.
      onset: of its stimulus, ms; NaN if no message gives it.
      loaded: (time, name) of each image or video that was loaded.
      named: the first file name of an image or video in another message.
    """

    start: float = math.nan
    onset: float = math.nan
    loaded: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    named: str = ""

    def shown(self, times: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Returns the stimulus at each time, the last one loaded before, and its onset."""
        onset = self.start if math.isnan(self.onset) else self.onset
        if len(self.loaded) < 2:
            name = self.loaded[0][1] if self.loaded else self.named
            return [name] * len(times), np.full(len(times), onset)
        since = np.array([at for at, _ in self.loaded])
        which = np.maximum(np.searchsorted(since, times, side="right") - 1, 0)
        since[0] = onset
        return [self.loaded[place][1] for place in which.tolist()], np.fmax(since, onset)[which]


def _size(last: float) -> int:
    """Returns a screen's side from its last pixel. Some programs write the size instead, which is even."""
    return round(last) + round(last) % 2


class Lines:
    """Parses a file line by line.

    Attributes:
      trials: an entry for the lines before the first trial, then the trials.
      events: trial, 1.0 for the right eye, start, duration, x and y of each fixation, concatenated.
      samples: trial, time, x and y of the left eye, x and y of the right eye of each sample, concatenated;
        only for files without fixations.
      screens: (height, width) of each screen in the file.
      observer: the recording's name.
      counts: numbers of "saccades" and "blinks", the tracker's other events.
      cut: number of lines that are cut off.
      is_open: whether a recording has begun and not ended.
    """

    def __init__(self, path: object):
        self.path = path
        self.trials, self.has_trials, self.number = [Trial()], False, Numbers()
        self.events, self.samples, self._texts = array("d"), array("d"), list[str]()
        self.eyes: tuple[bool, bool] = (True, False)
        self.screens: set[tuple[int, int]] = set()
        self.observer, self.is_open = "", False
        self.counts, self.cut = {"saccades": 0, "blinks": 0}, 0

    def take(self, line: str) -> None:
        """Reads one line."""
        if line[:1].isdigit():
            if not self.events:
                self._sample(line.split())
        elif line.startswith("EFIX"):
            self._fixation(line.split())
        elif line.startswith("MSG"):
            self._message(line)
        elif line.startswith("ESACC"):
            self.counts["saccades"] += 1
        elif line.startswith("EBLINK"):
            self.counts["blinks"] += 1
        elif line.startswith(("START", "SAMPLES", "EVENTS")):
            self._recording(line.split())
        elif line.startswith("END"):
            self.is_open = False
        elif line.startswith("** CONVERTED FROM"):
            name = re.search(r"CONVERTED FROM (?:.*[\\/])?(.+?)\.edf", line, re.IGNORECASE)
            self.observer = decoded(name[1]) if name else ""

    def flush(self) -> None:
        """Turns the samples' texts, which are held until there are some, into numbers."""
        self.samples.extend(self.number.read(self._texts))
        self._texts.clear()
        if len(self.samples) > 6 * MAX_TABLE_ROWS:
            raise UnisalError(f"{self.path}: more than {MAX_TABLE_ROWS} samples")

    def _sample(self, fields: list[str]) -> None:
        left, right = self.eyes
        if len(fields) < 4 + 3 * (left and right):
            self.cut += 1
            return
        one, two = fields[1:3], fields[4:6] if left and right else fields[1:3]
        trial = str(len(self.trials) - 1)
        self._texts += (trial, fields[0], *(one if left else _NOTHING), *(two if right else _NOTHING))
        if len(self._texts) >= _HELD:
            self.flush()

    def _fixation(self, fields: list[str]) -> None:
        if len(fields) < 7 or fields[1] not in ("L", "R"):
            self.cut += 1
            return
        if not self.events:
            self.samples, self._texts = array("d"), []
        start, duration, x, y = self.number.read((fields[2], *fields[4:7]))
        self.events.extend((len(self.trials) - 1, fields[1] == "R", start, duration, x, y))
        if len(self.events) > 6 * MAX_TABLE_ROWS:
            raise UnisalError(f"{self.path}: more than {MAX_TABLE_ROWS} fixations")

    def _recording(self, fields: list[str]) -> None:
        if fields[0] != "START" and fields[1:2] in (["HREF"], ["PUPIL"], ["RAW"]):
            raise UnisalError(
                f"{self.path}: its {fields[0].lower()} are {fields[1]}, not gaze on the screen; convert the "
                "recording with edf2asc -sg"
            )
        self.eyes = ("LEFT" in fields, "RIGHT" in fields) if {"LEFT", "RIGHT"} & set(fields) else self.eyes
        if fields[0] == "START" and len(fields) > 1:
            self.is_open = True
            if not self.has_trials:
                self._begin()
            (time,) = self.number.read(fields[1:2])
            if math.isnan(self.trials[-1].start):
                self.trials[-1].start = time

    def _begin(self, named: str = "") -> None:
        if len(self.trials) > MAX_TABLE_NAMES:
            raise UnisalError(f"{self.path}: more than {MAX_TABLE_NAMES} trials")
        self.trials.append(Trial(named=named))

    def _message(self, line: str) -> None:
        fields = decoded(line).split(None, 2)
        if len(fields) < 3:
            return
        (time,) = self.number.read(fields[1:2])
        text = fields[2].strip()
        offset = _OFFSET.fullmatch(text)
        if offset:
            time, text = time - int(offset[1]), offset[2]
        screen = _SCREEN.match(text)
        if text.startswith("TRIALID"):
            # Without this message, every recording is a trial.
            self.has_trials = True
            self._begin(media_name(text[7:]))
        elif screen:
            left, top, right, bottom = self.number.read(screen.groups())
            if right > left and bottom > top:
                self.screens.add((_size(bottom - top), _size(right - left)))
        else:
            self._about_stimulus(self.trials[-1], time, text)

    def _about_stimulus(self, trial: Trial, time: float, text: str) -> None:
        loaded = _LOADED.fullmatch(text)
        name = media_path(loaded[1]) if loaded else ""
        if name:
            if not trial.loaded or trial.loaded[-1][1] != name:
                trial.loaded.append((time, name))
            if text.startswith("!V VFRAME") and math.isnan(trial.onset):
                trial.onset = time
        elif _ONSET.match(text) and math.isnan(trial.onset):
            trial.onset = time
        if not name and not trial.named:
            variable = _VARIABLE.fullmatch(text)
            if variable and _IMAGE.fullmatch(variable[1]):
                trial.named = media_path(variable[2]) or variable[2].strip()
            else:
                trial.named = media_path(variable[2]) if variable else media_name(text)
