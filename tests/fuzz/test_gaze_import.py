"""Random recordings become fixations, or an error in one line (`make fuzz`)."""

import numpy as np
import pytest
from PIL import Image

from unisal_jax.data.layouts.fixation_tables import read_table
from unisal_jax.errors import UnisalError
from unisal_jax.gaze.doubts import find_doubts
from unisal_jax.gaze.imports import import_recordings
from unisal_jax.gaze.recording import Recording
from unisal_jax.gaze.report import describe, lines
from unisal_jax.gaze.settings import CLOCKS, SHOWN, SPACES, Ivt, Settings
from unisal_jax.gaze.table import as_table, write_table
from unisal_jax.media.video_writer import VideoWriter

pytestmark = pytest.mark.fuzz

_WILD = np.array([0, 1, -1, 0.5, 1e308, -1e308, np.inf, -np.inf, np.nan, 1e18, 1e-300, 3e9])


def numbers(random: np.random.Generator, count: int, largest: float) -> np.ndarray:
    values = random.uniform(0, largest, count)
    return np.where(random.random(count) < random.choice([0, 0.2]), random.choice(_WILD, count), values)


def any_recording(random: np.random.Generator) -> Recording:
    count = int(random.integers(0, 40))

    def names(some: list[str]) -> list[str]:
        return [str(name) for name in random.choice(some, count)]

    return Recording(
        path="a.tsv",
        format="tobii",
        kind=str(random.choice(["fixations", "samples"])),
        space=str(random.choice(SPACES)),
        screen=(None, (60, 80), (1, 1), (1080, 1920))[random.integers(4)],
        stimuli=names(["0", "1.png", "c", "", "zz", *"2345678"]),
        observers=names(["", "A", "B", "ü\n"]),
        trials=names([["", "1", "2"], [""]][random.integers(2)]),
        start=np.sort(numbers(random, count, 900)),
        duration=numbers(random, count, 300) if random.random() < 0.7 else np.full(count, np.nan),
        clock=str(random.choice(CLOCKS)),
        x=numbers(random, count, 80),
        y=numbers(random, count, 60),
        dropped={"saccades": 3},
        frames=numbers(random, count, 9) if random.random() < 0.2 else None,
    )


def any_settings(random: np.random.Generator) -> Settings:
    return Settings(
        shown=(*SHOWN, (0.0, 0.0, 10.0, 10.0))[random.integers(4)],
        screen=(None, (60, 80))[random.integers(2)],
        stimulus=(None, "c")[random.integers(2)],
        onset=float(random.choice([0, -50, 200])),
        fps=(None, 5.0)[random.integers(2)],
        drop_first=bool(random.random() < 0.3),
        pixels_per_degree=(None, 5.0, 1e-3)[random.integers(3)],
        ivt=Ivt(minimum=float(random.choice([0, 60]))),
    )


def test_any_recording(tmp_path):
    random = np.random.default_rng(0)
    for number in range(9):
        pixels = random.integers(0, 256, (6 + number, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    with VideoWriter(tmp_path / "c.mp4", (64, 96), 10) as writer:
        for _ in range(8):
            writer.write(random.integers(0, 256, (64, 96, 3), np.uint8))
    taken = 0
    for _ in range(2000):
        recordings, settings = [any_recording(random)] * int(random.integers(1, 3)), any_settings(random)
        try:
            found = import_recordings(recordings, tmp_path, settings)
        except UnisalError:
            continue
        taken += 1
        assert lines(describe(found, settings, [], find_doubts(found, settings)))
        write_table(tmp_path / "t.csv", found)
        read, direct = read_table(tmp_path / "t.csv"), as_table(found)
        assert {name: len(gaze) for name, gaze in read.gaze.items()} == {
            name: len(gaze) for name, gaze in direct.gaze.items()
        }
    assert taken > 200
