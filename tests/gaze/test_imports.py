"""Mapping recordings to stimuli; all expected numbers are computed by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.gaze_recordings import HD, recording
from unisal_jax.data.layouts.fixation_tables import read_table
from unisal_jax.errors import UnisalError
from unisal_jax.gaze import geometry, imports
from unisal_jax.gaze.doubts import find_doubts
from unisal_jax.gaze.films import edges_of, frame_edges, frames_of
from unisal_jax.gaze.imports import import_recordings
from unisal_jax.gaze.ivt import find_fixations
from unisal_jax.gaze.report import describe, lines, next_command
from unisal_jax.gaze.settings import Ivt, Settings
from unisal_jax.gaze.sheet import write_sheet
from unisal_jax.gaze.stimuli import match_stimuli
from unisal_jax.gaze.table import as_table, write_table
from unisal_jax.media.video_writer import VideoWriter


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory) -> Path:
    """a.png of 80x60, b.jpg of 60x80 rotated by EXIF, clip.mp4 of 96x64 with 8 frames at 10 fps."""
    folder = tmp_path_factory.mktemp("stimuli")
    grey = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(grey).save(folder / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey).save(folder / "b.jpg", exif=exif)
    with VideoWriter(folder / "clip.mp4", (64, 96), 10) as writer:
        for _ in range(8):
            writer.write(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    return folder


@pytest.mark.parametrize(
    ("shown", "size", "box"),
    [
        ("fit", (600, 800), (240, 0, 1440, 1080)),  # 1.8 times as large, bars at the sides
        ("fit", (250, 1000), (0, 300, 1920, 480)),  # 1.92 times, bars above and below
        ("stretch", (600, 800), (0, 0, 1920, 1080)),
        ("actual", (600, 800), (560, 240, 800, 600)),
        ((100.0, 50.0, 400.0, 300.0), (600, 800), (100, 50, 400, 300)),
    ],
)
def test_where_a_stimulus_lay(shown, size, box):
    assert geometry.place(shown, HD, size) == geometry.Box(*box)


def test_a_place_without_a_screen():
    assert geometry.place("fit", None, (600, 800)) is None
    assert geometry.place((1, 2, 3, 4), None, (600, 800)) == geometry.Box(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("space", "point", "expected"),
    [
        ("screen", (960, 540), (400, 300)),
        ("screen", (240, 1080), (0, 600)),
        ("screen_fraction", (0.5, 0.25), (400, 150)),
        ("screen_up", (960, 270), (400, 450)),
        ("screen_centre_up", (-180, 90), (300, 250)),
        ("stimulus", (7, 8), (7, 8)),
        ("stimulus_fraction", (0.25, 0.25), (200, 150)),
        ("stimulus_fraction_up", (0.25, 0.25), (200, 450)),
    ],
)
def test_to_the_stimulus(space, point, expected):
    box = geometry.place("fit", HD, (600, 800))
    x, y = geometry.to_screen(*(np.array([side], np.float64) for side in point), space, HD)
    assert np.concatenate(geometry.to_stimulus(x, y, space, box, (600, 800))) == pytest.approx(expected)


def test_pixels_per_degree():
    # 40 pixels a cm; at 57.29 cm a cm is a degree.
    settings = Settings(screen_cm=(27.0, 48.0), distance_cm=57.29)
    assert geometry.screen_pixels_per_degree(settings, HD) == pytest.approx(40, rel=1e-3)
    box = geometry.place("fit", HD, (600, 800))
    assert geometry.stimulus_pixels_per_degree(36.0, box, (600, 800)) == pytest.approx((20, 20))
    assert geometry.screen_pixels_per_degree(Settings(pixels_per_degree=31.0), None) == 31
    assert geometry.screen_pixels_per_degree(Settings(), HD) is None
    with pytest.raises(UnisalError, match="--screen WxH"):
        geometry.screen_pixels_per_degree(settings, None)


def trace(*parts) -> tuple[np.ndarray, np.ndarray]:
    """Times in ms of a 250 Hz tracker, and x in degrees."""
    x = np.concatenate([np.atleast_1d(np.asarray(part, np.float64)) for part in parts])
    return 4.0 * np.arange(len(x)), x


def found_in(time, x, viewing=None, how=None):
    viewing = np.zeros(len(x), np.int64) if viewing is None else viewing
    return find_fixations(time, x, np.where(np.isnan(x), np.nan, 0.0), viewing, how or Ivt())


def test_fixations_of_a_trace():
    """200 ms at 0 degrees, a saccade of 5 samples, 300 ms at 10 degrees.

    The velocity of sample i is from i - 2 to i + 3, over 20 ms: the first saccade sample (50) is seen from
    sample 47 on, the last one (54) up to 56.
    """
    time, x = trace(np.zeros(50), 10 * np.arange(1, 6) / 6, np.full(75, 10.0))
    found = found_in(time, x)
    assert found.start.tolist() == [0, 57 * 4]
    assert found.duration.tolist() == [47 * 4, (130 - 57) * 4]
    assert found.of_row.tolist() == [0] * 47 + [-1] * 10 + [1] * 73
    assert found.too_short == 0


@pytest.mark.parametrize(("lost", "count"), [(10, 1), (18, 1), (25, 2)])
def test_short_losses_are_filled(lost, count):
    """The gap between fixations, by the number of lost samples.

    Of 10 samples it is 44 ms, of 18 it is 76 ms (two fixations, which are one: 72 ms between them), of 25 it
    is 104 ms.
    """
    time, x = trace(np.zeros(50), np.full(lost, np.nan), np.zeros(50))
    found = found_in(time, x)
    assert len(found.start) == count
    assert (np.flatnonzero(found.of_row == -1) == np.arange(50, 50 + lost)).all()
    assert found.duration.sum() == pytest.approx(4 * (100 + (lost if count == 1 else 0)))


def test_near_fixations_are_one_and_short_ones_none():
    # There and back: fast from 47 to 56, with 40 ms between what is slow.
    blip = trace(np.zeros(50), [1.0, 2.0, 3.0, 2.0, 1.0], np.zeros(50))
    assert found_in(*blip).duration.tolist() == [4 * 105]
    assert len(found_in(*blip, how=Ivt(merge_time=0)).start) == 2
    # Far apart in space: 188 ms, 40 ms between two saccades, 188 ms.
    three = trace(np.zeros(50), np.full(15, 9.0), np.zeros(50))
    found = found_in(*three)
    assert len(found.start) == 2 and found.too_short == 1
    assert len(found_in(*three, how=Ivt(minimum=20)).start) == 3


def test_a_slow_tracker_and_the_ends_of_viewings():
    """At 30 Hz the window is one step; viewings are independent."""
    time = np.tile(np.arange(8) * 33.3, 2)
    viewing = np.repeat([0, 1], 8)
    found = found_in(time, np.zeros(16), viewing)
    assert found.start.tolist() == [0, 0] and found.of_row.tolist() == [0] * 8 + [1] * 8
    assert found.duration == pytest.approx([8 * 33.3] * 2)


@pytest.mark.parametrize("x", [[], [1.0], [np.nan] * 9])
def test_no_fixations(x):
    time, x = trace(np.array(x))
    assert len(found_in(time, x).start) == 0


@pytest.mark.parametrize(
    ("start", "duration", "frames"),
    [
        (10, 100, [0, 1, 2]),  # the middles 20, 60 and 100
        (65, 30, [2]),  # between two middles; its own is 80
        (190, 300, [4]),  # the part in the film has its middle at 195
        (-30, 40, [0]),
        (-30, 30, []),
        (200, 50, []),
        (50, np.nan, [1]),
        (20, 40, [0]),  # a middle at the end itself is not in it
    ],
)
def test_frames_at_a_constant_rate(start, duration, frames):
    number, frame = frames_of(np.array([start]), np.array([duration]), np.arange(6) * 40.0)
    assert frame.tolist() == frames and number.tolist() == [0] * len(frames)


def test_frames_at_a_variable_rate():
    edges = edges_of(np.array([0.0, 40.0, 200.0, 240.0]))
    assert edges.tolist() == [0, 40, 200, 240, 280]
    number, frame = frames_of(np.array([100.0, 0.0]), np.array([130.0, 280.0]), edges)
    assert number.tolist() == [0, 0, 1, 1, 1, 1] and frame.tolist() == [1, 2, 0, 1, 2, 3]


def test_edges_of_a_file(stimuli):
    assert frame_edges(stimuli / "clip.mp4") == pytest.approx(np.arange(9) * 100)
    assert frame_edges(stimuli / "clip.mp4", 20) == pytest.approx(np.arange(9) * 50)


def test_names_of_stimuli(stimuli):
    names = {"a": 1, "C:\\lab\\B.JPG": 1, "shown/clip.mp4": 2, "cross": 3}
    found, unseen = match_stimuli(stimuli, names)
    assert {name: (s.name, s.size, s.film) for name, s in found.items()} == {
        "a": ("a.png", (60, 80), False),
        "C:\\lab\\B.JPG": ("b.jpg", (80, 60), False),
        "shown/clip.mp4": ("clip.mp4", (64, 96), True),
    }
    assert unseen == 0
    with pytest.raises(UnisalError, match=r"none of the 1 stimuli .* 'cross'"):
        match_stimuli(stimuli, {"cross": 3})
    (stimuli / "none").mkdir()
    with pytest.raises(UnisalError, match="no images or videos"):
        match_stimuli(stimuli / "none", {"a": 1})


def test_what_is_dropped_is_counted(stimuli):
    """a.png fills 1440x1080 pixels of the screen from column 240: 18 screen pixels per image pixel."""
    rows = [
        ("a", "P1", 0, 200, 960, 540),  # its middle
        ("a", "P1", 250, 200, 258, 1062),  # 1 from the left, 59 from above
        ("a", "P1", 500, 200, 100, 540),  # beside it
        ("a", "P1", 750, 200, 960, -5),  # off the screen
        ("a", "P1", 999, 200, np.nan, np.nan),
        ("a", "P1", -300, 200, 960, 540),  # before it appeared
        ("cross", "P1", 0, 500, 960, 540),
        ("", "P1", 0, 500, 960, 540),
    ]
    found = import_recordings([recording(rows)], stimuli, Settings())
    assert found.fixations.x.tolist() == [40, 1] and found.fixations.y.tolist() == [30, 59]
    assert {reason: count for reason, count in found.dropped.items() if count} == {
        imports.OFF_STIMULUS: 1,
        imports.OFF_SCREEN: 1,
        imports.LOST: 1,
        imports.BEFORE: 1,
    }
    assert found.unmatched == {"cross": 1} and found.unnamed == 1 and found.unseen == 2
    first = import_recordings([recording(rows[:2])], stimuli, Settings(drop_first=True))
    assert first.fixations.x.tolist() == [1] and first.dropped[imports.FIRST] == 1


def test_clocks_and_onset(stimuli):
    rows = [
        ("a", "P1", 5100, 200, 960, 540),
        ("b", "P1", 9000, 200, 960, 540),
        ("a", "P1", 5400, 90, 960, 540),
    ]
    by_first = import_recordings([recording(rows, clock="recording")], stimuli, Settings())
    assert by_first.fixations.start.tolist() == [0, 300, 0]
    later = import_recordings([recording(rows, clock="recording")], stimuli, Settings(onset=-50))
    assert later.fixations.start.tolist() == [50, 350, 50]
    told = import_recordings([recording(rows)], stimuli, Settings(clock="recording"))
    assert told.fixations.start.tolist() == [0, 300, 0]


def test_a_film(stimuli):
    """Frames of 100 ms; the video fills 1620x1080 screen pixels from column 150: a scale of 16.875."""
    rows = [
        ("clip", "P1", 20, 250, 960, 540),  # the middles 50, 150 and 250
        ("clip", "P1", 700, 500, 960, 540),  # 750, and the rest is after the film
        ("clip", "P1", 900, 100, 960, 540),
    ]
    found = import_recordings([recording(rows)], stimuli, Settings())
    assert found.fixations.frame.tolist() == [0, 1, 2, 7]
    assert found.fixations.x == pytest.approx([48] * 4) and found.fixations.y == pytest.approx([32] * 4)
    assert found.dropped[imports.AFTER] == 1 and len(found.fixations.once()) == 2
    half = import_recordings([recording(rows)], stimuli, Settings(fps=5))  # frames of 200 ms
    assert half.fixations.frame.tolist() == [0, 3, 4, 4, 5]


def test_frames_that_the_file_tells(stimuli):
    """With frame numbers, times are ignored; the video has frames 1 to 8."""
    rows = [("clip", "P1", 9e6, np.nan, 960, 540)] * 4 + [("a", "P1", 0, 100, 960, 540)]
    told = recording(rows, kind="samples", frames=np.array([1.5, 1.0, 8.0, np.nan, 5.0]))
    found = import_recordings([told], stimuli, Settings(first_frame=1))
    assert found.fixations.frame.tolist() == [0, 0, 7] and found.dropped[imports.NO_FRAME] == 2


def test_times_of_a_film_that_are_not_known(stimuli):
    rows = [("clip", "P1", np.nan, 200, 960, 540), ("a", "P1", np.nan, 200, 960, 540)]
    found = import_recordings([recording(rows)], stimuli, Settings())
    assert len(found.fixations) == 1 and found.dropped[imports.NO_TIME] == 1


def test_raw_gaze_that_follows_something(stimuli):
    """From the left to the right edge of the video in 0.8 s, 81 pixels per degree: 25 degrees/s."""
    time = np.arange(0, 800, 4.0)
    rows = [("clip", "P1", t, np.nan, 150 + 1620 * t / 800, 540) for t in time]
    settings = Settings(pixels_per_degree=81.0)
    found = import_recordings([recording(rows)], stimuli, settings)
    assert found.fixations.frame.tolist() == list(range(8))
    assert found.fixations.x == pytest.approx([96 * (50 + 100 * k) / 800 for k in range(8)], abs=1e-6)
    with pytest.raises(UnisalError, match=r"in/a.tsv: holds only raw gaze.* --screen-cm"):
        import_recordings([recording(rows)], stimuli, Settings())


def test_people_files_and_viewings(stimuli, tmp_path):
    """Observers without a name are named after the file; a fixation in two files is counted once."""
    rows = [("a", "", 0, 200, 960, 540), ("a", "", 300, 200, 600, 540)]
    one, two = recording(rows, path="x/P1.tsv"), recording(rows, path="x/P2.tsv")
    found = import_recordings([one, two], stimuli, Settings())
    assert found.observers == ("P1", "P2") and len(found.fixations) == 4
    assert [line for line in find_doubts(found, Settings()) if "the same points" in line]
    same = import_recordings([one, recording(rows, path="y/P1.tsv")], stimuli, Settings())
    assert same.observers == ("x/P1", "y/P1")
    folder = "x/{}/exports/000/surfaces/fixations_on_surface_{}.csv"
    surfaces = [
        recording(rows, format="pupil_core", space="stimulus", path=folder.format(*names))
        for names in (("Ann", "a"), ("Ann", "b"), ("Bob", "a"))
    ]
    core = import_recordings(surfaces, stimuli, Settings(coordinates="screen"))
    assert core.observers == ("Ann", "Bob")
    named = recording([("a", "P1", *row[2:]) for row in rows], path="z.tsv")
    copies = import_recordings([named, named], stimuli, Settings())
    assert len(copies.fixations) == 2 and copies.dropped[imports.TWICE] == 2
    other = dataclasses.replace(named, path="w.tsv", x=named.x + 1)
    both = find_doubts(import_recordings([named, other], stimuli, Settings()), Settings())
    assert "are in two files, such as P1 and a in z.tsv and w.tsv" in " ".join(both)
    again = recording(rows * 2, path="x/P1.tsv", trials=["first"] * 2 + ["second"] * 2, clock="recording")
    found = import_recordings([again], stimuli, Settings())
    assert found.fixations.viewing.tolist() == [1, 1, 2, 2]
    assert describe(found, Settings(), [], [])["notes"][0].startswith("1 viewing by observers who had seen")
    write_table(tmp_path / "t.csv", found)
    assert (tmp_path / "t.csv").read_text().splitlines()[:2] == [
        "stimulus,observer,x,y,start,duration,trial",
        "a.png,P1,40,30,0,200,1",
    ]


def test_the_table_is_read_back(stimuli, tmp_path):
    rows = [
        ("clip", 'P "1", x', 20, 250, 960, 540),
        ("a", 'P "1", x', 20, np.nan, 1679.9999, 1079.9999),
        ("a", "P2", 0, 200, 601.2345, 540),
    ]
    found = import_recordings([recording(rows)], stimuli, Settings())
    write_table(tmp_path / "t.csv", found)
    read, direct = read_table(tmp_path / "t.csv"), as_table(found)
    assert set(read.gaze) == set(direct.gaze) == {"a.png", "clip.mp4"}
    for name, gaze in read.gaze.items():
        assert gaze.observers == direct.gaze[name].observers
        assert gaze.frames == direct.gaze[name].frames
        assert gaze.xy == pytest.approx(direct.gaze[name].xy, abs=1.01e-3)
    assert set(read.gaze["a.png"].observers) == {'P "1", x', "P2"}
    assert list(read.gaze["clip.mp4"].frames) == [0, 1, 2]
    assert max(read.gaze["a.png"].xy[::2]) < 80  # what is rounded stays inside


@pytest.mark.parametrize(
    ("facts", "settings", "message"),
    [
        ({"screen": None}, Settings(), "no screen size .* --screen WxH"),
        ({"stimuli": [""]}, Settings(), "names no stimulus; pass --stimulus"),
        ({"x": np.array([np.nan])}, Settings(), "no fixations on the stimuli .*1 the tracker lost the eye"),
    ],
)
def test_refused(stimuli, facts, settings, message):
    whole = recording([("a", "P1", 0, 200, 960, 540)])
    with pytest.raises(UnisalError, match=message):
        import_recordings([dataclasses.replace(whole, **facts)], stimuli, settings)


def test_screens_that_differ(stimuli):
    rows = [("a", "", 0, 200, 400, 300)]
    files = [recording(rows, path="1.tsv"), recording(rows, path="2.tsv", screen=(600, 800))]
    found = import_recordings(files, stimuli, Settings())
    assert found.fixations.x == pytest.approx([(400 - 240) / 18, 40])
    assert (
        "screens of several sizes, 800x600, 1920x1080; each file's own" in find_doubts(found, Settings())[0]
    )
    told = Settings(screen=(600, 800), screen_cm=(30.0, 30.0), distance_cm=60.0)
    found = import_recordings(files[:1], stimuli, told)
    text = " ".join(find_doubts(found, told))
    assert "have a screen of 1920x1080 pixels, but --screen 800x600" in text and "--screen-cm" in text


def test_the_report(stimuli, tmp_path):
    rows = [("a", "P1", 0, 200, 960, 540), ("a", "P1", 250, 200, 1920, 540), ("cross", "P1", 0, 9, 0, 0)]
    files = [recording(rows, dropped={"saccade": 7}, notes=("both eyes",), clock="recording")]
    settings = Settings(pixels_per_degree=36.0)
    found = import_recordings(files, stimuli, settings)
    report = describe(found, settings, ["x"], ["y is odd"])
    assert report["fixations"] == 1 and report["dropped"] == {imports.OFF_SCREEN: 1}
    assert report["dropped_share"] == 0.5 and report["pixels_per_degree"]["median"] == 2
    assert report["observers"] == {"P1": {"fixations": 1, "viewings": 1}}
    text = "\n".join(lines(report))
    for part in (
        "1 file: tobii (1); fixations",
        "1 observer, 1 stimulus, 1 viewing, 1 fixation: 1 per viewing (1 to 1)",
        "dropped: 1 fixation (50.0%): 1 off the screen",
        "rows that the files mark as invalid: 7 saccade",
        "not in the folder of stimuli: 'cross' (1 rows)",
        "default: stimuli shown as large as the screen allows",
        "default: a stimulus appeared with the first row",
        "note: both eyes",
        "looks wrong: y is odd",
    ):
        assert part in text
    words = next_command(report, "stimuli", "out/gaze 1.csv")
    assert words[words.index("--sigma") :] == [
        *("--sigma", "1", "--pixels-per-degree", "2", "--name", "gaze_1", "--data-dir", "data"),
    ]
    write_sheet(tmp_path / "s.png", found)
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    # The image is 400 pixels wide behind a margin of 8 and a caption of 18; the dot has the first colour.
    assert sheet[8 + 18 + 150, 8 + 200].tolist() == [230, 159, 0]
