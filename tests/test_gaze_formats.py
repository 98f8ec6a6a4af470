"""Exports of eye trackers: small files as the manuals describe them, read back as the manuals say."""

import gzip
import json

import numpy as np
import pytest

from unisal_jax.errors import UnisalError
from unisal_jax.gaze import columns
from unisal_jax.gaze.eyes import merge_fixations
from unisal_jax.gaze.formats import FORMATS
from unisal_jax.gaze.read import read, recognise

NAN = float("nan")


def as_text(separator, *rows):
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def _write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _check(recording, **expected):
    """Compares what a test names: arrays with NaN where NaN is expected, all else exactly."""
    for name, value in expected.items():
        found = getattr(recording, name)
        if isinstance(found, np.ndarray):
            np.testing.assert_allclose(found, value, atol=1e-6, err_msg=name)
        else:
            assert found == value, name
    assert len(recording.stimuli) == len(recording.observers) == len(recording.trials) == len(recording.x)
    assert recording.y.shape == recording.start.shape == recording.duration.shape == recording.x.shape


# Tobii: 60 samples a second. The first fixation begins before the first image. Two rows are no gaze: an event
# and the mouse.
TOBII_TEXT = """\
Recording timestamp,Sensor,Participant name,Recording name,Recording resolution height,\
Recording resolution width,Presented Stimulus name,Event,\
Gaze point X,Gaze point Y,Gaze point left X,Gaze point left Y,Eye movement type,\
Gaze event duration,Eye movement type index,Fixation point X,Fixation point Y
0,Eye Tracker,P1,Rec1,1080,1920,,,950,530,948,530,Fixation,50,1,951,531
17,,P1,Rec1,1080,1920,a.png,ImageStimulusStart,,,,,,,,,
17,Eye Tracker,P1,Rec1,1080,1920,a.png,,952,532,950,530,Fixation,50,1,951,531
33,Eye Tracker,P1,Rec1,1080,1920,a.png,,700,500,698,498,Saccade,17,1,,
50,Mouse,P1,Rec1,1080,1920,a.png,,,,,,,,,,
50,Eye Tracker,P1,Rec1,1080,1920,a.png,,400,300,398,298,Fixation,217,2,401.5,301.25
67,Eye Tracker,P1,Rec1,1080,1920,a.png,,403,302,401,300,Fixation,217,2,401.5,301.25
83,Eye Tracker,P1,Rec1,1080,1920,a.png,,,,,,EyesNotFound,17,1,,
100,Eye Tracker,P1,Rec1,1080,1920,b.png,,100,90,98,88,Fixation,120,3,100,90
117,Eye Tracker,P1,Rec1,1080,1920,b.png,,90,90,88,88,Unclassified,17,1,,
"""
TOBII = tuple(tuple(line.split(",")) for line in TOBII_TEXT.splitlines())
TOBII_FIXATIONS = {
    "format": "tobii", "kind": "fixations", "space": "screen", "screen": (1080, 1920), "clock": "stimulus",
    "stimuli": ["a.png", "b.png"], "observers": ["P1", "P1"], "start": [33, 0], "duration": [217, 120],
    "x": [401.5, 100], "y": [301.25, 90],
    "dropped": {"saccades": 1, "eyes not found": 1, "unclassified": 1, "no stimulus on the screen": 1},
}  # fmt: skip


def _tobii(**changes):
    """The table with other names or values: a name -> (another, function of a cell's text)."""
    header = TOBII[0]
    functions = [changes.get(name.replace(" ", "_"), (name, str)) for name in header]
    rows = [tuple(name for name, _ in functions)]
    for row in TOBII[1:]:
        rows.append(
            tuple(str(cell) and change(str(cell)) for (_, change), cell in zip(functions, row, strict=True))
        )
    return as_text("\t", *rows)


TOBII_WAYS = {
    "plain": _tobii(),
    "UTF-8 with BOM, CRLF": ("\ufeff" + _tobii().replace("\n", "\r\n")).encode(),
    "UTF-16": _tobii().encode("utf-16"),
    "gzip": gzip.compress(_tobii().encode()),
    "decimal comma": _tobii(
        Fixation_point_X=("Fixation point X", lambda text: text.replace(".", ",")),
        Fixation_point_Y=("Fixation point Y", lambda text: text.replace(".", ",")),
    ),
    "microseconds, no unit": _tobii(Recording_timestamp=("Recording timestamp", lambda text: text + "000")),
    "microseconds": _tobii(Recording_timestamp=("Recording timestamp [µs]", lambda text: text + "000")),
    "newer names": _tobii(
        Recording_timestamp=("Recording timestamp [ms]", str),
        Gaze_event_duration=("Eye movement event duration [ms]", str),
        Fixation_point_X=("Fixation point X [DACS px]", str),
        Fixation_point_Y=("Fixation point Y [DACS px]", str),
        Presented_Stimulus_name=("Presented Media name", str),
    ),
    "quoted": "".join(
        "\t".join(f'"{cell}"' for cell in line.split("\t")) + "\n" for line in _tobii().splitlines()
    ),
}


@pytest.mark.parametrize("content", TOBII_WAYS.values(), ids=TOBII_WAYS)
def test_tobii_fixations(tmp_path, content):
    path = _write(tmp_path / "export.tsv", content)
    assert recognise(path) == "tobii"
    _check(read(path), **TOBII_FIXATIONS)


def test_tobii_stimulus_coordinates_come_first(tmp_path):
    rows = [TOBII[0] + ("Fixation point X (MCSnorm)", "Fixation point Y (MCSnorm)")]
    rows += [(*row, row[-2] and "0.25", row[-2] and "0.5") for row in TOBII[1:]]
    found = read(_write(tmp_path / "export.tsv", as_text("\t", *rows)))
    _check(found, space="stimulus_fraction", x=[0.25, 0.25], y=[0.5, 0.5], stimuli=["a.png", "b.png"])
    # Columns that the export has but left empty do not count.
    rows[1:] = [(*row, "", "") for row in TOBII[1:]]
    _check(read(_write(tmp_path / "export.tsv", as_text("\t", *rows))), **TOBII_FIXATIONS)


def test_tobii_tells_where_the_stimulus_lay_on_the_screen(tmp_path):
    """In the middle of 1920x1080, a.png as 1440x1080 and b.png as 800x600."""
    told = {"a.png": (240, 0, 1440, 1080), "b.png": (560, 240, 800, 600), "": ("",) * 4}
    names = [f"Presented Media {name}" for name in ("position X", "position Y", "width", "height")]
    names = [f"{name} (DACSpx)" for name in names[:2]] + names[2:]
    rows = [(*TOBII[0], *names), *((*row, *told[row[6]]) for row in TOBII[1:])]
    found = read(_write(tmp_path / "export.tsv", as_text("\t", *rows)))
    _check(found, space="stimulus_fraction", stimuli=["a.png", "b.png"])
    _check(found, x=[161.5 / 1440, -460 / 800], y=[301.25 / 1080, -150 / 600])
    # Where it is not told of all, nothing of it is taken.
    rows[-2:] = [(*row[:-4], *told[""]) for row in rows[-2:]]
    _check(read(_write(tmp_path / "export.tsv", as_text("\t", *rows))), **TOBII_FIXATIONS)


def test_tobii_glasses(tmp_path):
    """Only what is mapped to a snapshot is on a stimulus."""
    head = (
        "Recording timestamp [ms]",
        "Sensor",
        "Participant name",
        "Recording name",
        "Recording media name",
    )
    head += ("Eye movement type", "Fixation point X [MCS px]", "Fixation point Y [MCS px]", "Gyro X [°/s]")
    mapped = (
        "Mapped eye movement type",
        "Mapped eye movement type index",
        "Mapped fixation X",
        "Mapped fixation Y",
    )
    names = tuple(f"{name} [{snapshot}]" for snapshot in ("shelf.jpg", "door") for name in mapped)
    none = ("",) * 4
    told = [
        (100, none, none), (120, ("Fixation", 1, 300, 40), none), (140, ("Fixation", 1, 300, 40), none),
        (160, ("Saccade", 1, "", ""), none), (180, none, ("Fixation", 1, 7, 8)),
    ]  # fmt: skip
    rows = [(t, "Eye Tracker", "P1", "R1", "v.mp4", "Fixation", 900, 500, "", *a, *b) for t, a, b in told]
    found = read(_write(tmp_path / "export.tsv", as_text("\t", head + names, *rows)))
    _check(found, format="tobii", space="stimulus", clock="recording", stimuli=["shelf.jpg", "door"])
    _check(found, start=[20, 80], duration=[20, 0], x=[300, 7], y=[40, 8], observers=["P1"] * 2)
    _check(found, screen=None, dropped={"saccades": 1})
    with pytest.raises(
        UnisalError, match=r"no column 'Mapped fixation X \[...\]', so .* scene camera's video"
    ):
        read(_write(tmp_path / "export.tsv", as_text("\t", head, *(row[:9] for row in rows))))


def test_tobii_screens_of_several_sizes_give_fractions(tmp_path):
    other = [
        (*row[:2], "P2", "Rec2", 1000, 2000, *row[6:]) if row[6] == "b.png" else row for row in TOBII[1:]
    ]
    found = read(_write(tmp_path / "export.tsv", as_text("\t", TOBII[0], *other)))
    _check(found, space="screen_fraction", screen=None, observers=["P1", "P2"])
    _check(found, x=[401.5 / 1920, 100 / 2000], y=[301.25 / 1080, 90 / 1000])
    assert "several sizes" in found.notes[0]


def test_tobii_samples_without_fixation_columns(tmp_path):
    rows = [row[:-2] for row in TOBII]
    path = _write(tmp_path / "export.tsv", as_text("\t", *rows))
    found = read(path)
    _check(found, kind="samples", x=[952, 700, 400, 403, NAN, 100, 90], start=[0, 16, 33, 50, 66, 0, 17])
    assert "no column 'Fixation point X'" in found.notes[0] and "Data export" in found.notes[0]
    _check(read(path, eye="left"), x=[950, 698, 398, 401, NAN, 98, 88])
    with pytest.raises(UnisalError, match="no column 'Gaze point right X'; tick it in Pro Lab"):
        read(path, eye="right")


def test_tobii_repeated_showing_is_another_trial(tmp_path):
    rows = [*TOBII, *((str(int(row[0]) + 200), *row[1:]) for row in TOBII[1:])]
    rows[-2:] = [(*row[:14], 7, *row[15:]) for row in rows[-2:]]
    found = read(_write(tmp_path / "export.tsv", as_text("\t", *rows)))
    assert found.stimuli == ["a.png", "b.png"] * 2 and len(set(found.trials)) == 4
    _check(found, start=[33, 0, 33, 0])


def test_tobii_without_a_column(tmp_path):
    for name in ("Recording timestamp", "Gaze point X"):
        place = TOBII[0].index(name)
        # Without its own fixations.
        rows = [row[:place] + row[place + 1 : -2] for row in TOBII]
        with pytest.raises(UnisalError, match=f"no column '{name}'; tick it in Pro Lab under Analyze"):
            read(_write(tmp_path / "export.tsv", as_text("\t", *rows)))


def test_tobii_rows_of_fixations_alone(tmp_path):
    rows = [TOBII[0], TOBII[6], TOBII[7], TOBII[9]]
    found = read(_write(tmp_path / "export.tsv", as_text("\t", *rows)))
    _check(found, start=[0, 0], x=[401.5, 100], dropped={})
    assert "each stimulus' first fixation, not its onset" in found.notes[0]
    assert read(_write(tmp_path / "whole.tsv", _tobii())).notes == ()


def test_tobii_studio(tmp_path):
    text = (
        "ParticipantName,RecordingName,MediaName,RecordingTimestamp,FixationIndex,GazeEventType,GazeEventDuration,"
        "FixationPointX (MCSpx),FixationPointY (MCSpx)\n"
        "P01,Rec 01,a.jpg,1000,1,Fixation,133,640,360\nP01,Rec 01,a.jpg,1003,1,Fixation,133,640,360\n"
        "P01,Rec 01,a.jpg,1133,,Saccade,20,,\nP01,Rec 01,a.jpg,1153,2,Fixation,90,,\n"
    )
    found = read(_write(tmp_path / "studio.tsv", text.replace(",", "\t")))
    _check(found, format="tobii", space="stimulus", stimuli=["a.jpg"] * 2, start=[0, 153], duration=[133, 90])
    _check(found, x=[640, NAN], y=[360, NAN], observers=["P01", "P01"])


def test_pupil_core_fixations_are_the_mean_over_frames(tmp_path):
    lines = [
        "world_timestamp,world_index,fixation_id,start_timestamp,duration,dispersion,"
        "norm_pos_x,norm_pos_y,x_scaled,y_scaled,on_surf",
        "100.0,0,7,99.98,250.5,0.9,0.20,0.70,20,70,True",
        "100.1,1,7,99.98,250.5,0.9,0.30,0.80,30,80,True",
        "100.2,2,7,99.98,250.5,0.9,1.30,0.80,130,80,False",
        "100.3,3,8,100.29,100,0.9,1.30,0.80,130,80,False",
        "100.5,5,9,100.5,180,0.9,0.5,0.25,50,25,True",
    ]
    path = _write(tmp_path / "fixations_on_surface_poster 1.csv", "\n".join(lines))
    assert recognise(path) == "pupil_core"
    found = read(path)
    _check(found, kind="fixations", space="stimulus_fraction_up", clock="recording", stimuli=["poster 1"] * 2)
    _check(found, x=[0.25, 0.5], y=[0.75, 0.25], start=[99980, 100500], duration=[250.5, 180])
    _check(found, dropped={"not on the surface": 1}, observers=["", ""])
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    with pytest.raises(UnisalError, match="no column 'on_surf'; export it with the Surface Tracker"):
        read(path)


def test_pupil_core_samples(tmp_path):
    text = (
        "world_timestamp,world_index,gaze_timestamp,x_norm,y_norm,x_scaled,y_scaled,on_surf,confidence\n"
        "1.00,0,1.001,0.1,0.2,1,2,True,0.99\n1.00,0,1.005,0.3,0.4,1,2,True,0.2\n1.03,1,1.005,0.3,0.4,1,2,True,0.2\n"
    )
    found = read(_write(tmp_path / "gaze_positions_on_surface_wall.csv", text))
    _check(found, kind="samples", x=[0.1, NAN], y=[0.2, NAN], start=[1001, 1005], stimuli=["wall", "wall"])
    assert found.notes == ("1 sample of a confidence below 0.6 count as lost",)


NEON = (
    "section id,recording id,fixation id,start timestamp [ns],end timestamp [ns],duration [ms],"
    "fixation detected in reference image,fixation x [px],fixation y [px]\n"
    "s1,r1,1,1700000000000000000,1700000000250000000,250,True,812.5,400.25\n"
    "s1,r1,2,1700000000300000000,1700000000400000000,100,False,,\n"
    "s2,r2,1,1700000001000000000,1700000001125000000,125,True,12,30\n"
)


def test_neon_reference_image(tmp_path):
    path = _write(tmp_path / "fixations.csv", NEON)
    assert recognise(path) == "neon"
    found = read(path)
    _check(found, kind="fixations", space="stimulus", x=[812.5, 12], y=[400.25, 30], duration=[250, 125])
    _check(found, observers=["r1", "r2"], trials=["s1", "s2"], dropped={"not on the stimulus": 1})
    assert found.start[1] - found.start[0] == pytest.approx(1000, abs=0.01)
    _write(tmp_path / "sections.csv", "section id,recording id,wearer name\ns1,r1,Ann\ns2,r2,\n")
    _check(read(path), observers=["Ann", "r2"])


def test_neon_marker_mapper_gaze_and_the_scene_camera(tmp_path):
    surface = NEON.replace("in reference image", "on surface").replace("[px]", "[normalized]")
    _check(read(_write(tmp_path / "fixations.csv", surface)), space="stimulus_fraction", x=[812.5, 12])
    gaze = (
        "section id,recording id,timestamp [ns],gaze detected in reference image,"
        "gaze position in reference image x [px],gaze position in reference image y [px]\n"
        "s1,r1,1700000000000000000,True,1,2\ns1,r1,1700000000005000000,False,,\n"
    )
    found = read(_write(tmp_path / "gaze.csv", gaze))
    _check(found, kind="samples", x=[1, NAN], y=[2, NAN])
    assert np.diff(found.start) == pytest.approx([5], abs=0.01)
    scene = NEON.replace("fixation detected in reference image", "azimuth [deg]")
    with pytest.raises(UnisalError, match="scene camera's image; download the export of a Reference Image"):
        read(_write(tmp_path / "fixations.csv", scene))


# EyeLink: a trial named by IMGLOAD and begun by SYNCTIME, one by TRIAL_VAR after its end.
ASC = """** CONVERTED FROM C:\\data\\ann.edf using edfapi 4.2.1
** DATE: Mon Jan  2 10:00:00 2023
** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED

MSG\t1000 DISPLAY_COORDS 0 0 1279 1023
MSG\t1001 TRIALID 1
START\t1010 \tRIGHT\tSAMPLES\tEVENTS
PRESCALER\t1
PUPIL\tAREA
EVENTS\tGAZE\tRIGHT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2
SAMPLES\tGAZE\tRIGHT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2
SFIX R   1010
1010\t  640.0\t  512.0\t 1034.0\t...
EFIX R   1010\t1090\t82\t  640.0\t  512.0\t   1034
MSG\t1110 -10 SYNCTIME
MSG\t1112 !V IMGLOAD CENTER ..\\images\\cat 1.jpg 640 512 800 600
SSACC R  1092
ESACC R  1092\t1118\t28\t  640.0\t  512.0\t  700.0\t  500.0\t   2.0\t  120
EFIX R   1130\t1328\t200\t  700.5\t  500.25\t   1034
SBLINK R 1330
EBLINK R 1330\t1400\t72
EFIX R   1410\t1508\t100\t  .\t  .\t   0
END\t1520 \tSAMPLES\tEVENTS\tRES\t  47.75\t  46.11
MSG\t1530 TRIAL_RESULT 0
MSG\t2001 TRIALID 2
START\t2010 \tRIGHT\tSAMPLES\tEVENTS
EFIX R   2030\t2128\t100\t  100.0\t  50.0\t   1034
END\t2520 \tSAMPLES\tEVENTS\tRES\t  47.75\t  46.11
MSG\t2530 !V TRIAL_VAR image dog.png
"""


def test_eyelink_asc(tmp_path):
    path = _write(tmp_path / "x.asc", ASC)
    assert recognise(path) == "eyelink_asc"
    found = read(path)
    # The offset -10 says that the image came 10 ms after the message.
    _check(
        found, kind="fixations", space="screen", screen=(1024, 1280), clock="stimulus", observers=["ann"] * 3
    )
    _check(found, stimuli=["images/cat 1.jpg"] * 2 + ["dog.png"], trials=["1", "1", "2"])
    _check(found, start=[10, 290, 20], duration=[200, 100, 100], x=[700.5, NAN, 100], y=[500.25, NAN, 50])
    _check(found, dropped={"saccades": 1, "blinks": 1, "before the stimulus": 1})
    assert found.notes == ("1 trial without SYNCTIME: times count from the recording's start",)
    with pytest.raises(UnisalError, match="the left eye was not recorded; leave out --eye left"):
        read(path, eye="left")


def test_eyelink_asc_screens_that_contradict_each_other(tmp_path):
    found = read(
        _write(tmp_path / "x.asc", ASC.replace("MSG\t2001", "MSG\t2000 GAZE_COORDS 0 0 799 599\nMSG\t2001"))
    )
    assert found.screen is None and "several sizes, 800x600, 1280x1024; none is taken" in found.notes[0]


def test_eyelink_asc_half_recorded(tmp_path):
    half = ASC[: ASC.index("  100.0\t  50.0")]
    found = read(_write(tmp_path / "x.asc", half))
    _check(found, stimuli=["images/cat 1.jpg"] * 2)
    assert found.notes[0] == "1 line cut off, left out" and "no END" in found.notes[1]


def test_eyelink_asc_both_eyes(tmp_path):
    text = ASC.replace("EFIX R   2030", "EFIX L   2026\t2124\t100\t  110.0\t  60.0\t   1034\nEFIX R   2030")
    path = _write(tmp_path / "x.asc", text)
    found = read(path)
    _check(found, start=[10, 290, 18], duration=[200, 100, 100], x=[700.5, NAN, 105], y=[500.25, NAN, 55])
    assert any("both eyes" in note for note in found.notes)
    _check(read(path, eye="right"), x=[700.5, NAN, 100])
    _check(read(path, eye="left"), x=[110], start=[16])


def test_eyelink_asc_images_one_after_the_other_and_videos(tmp_path):
    lines = ASC.split("MSG\t2001")[0]
    lines = lines.replace("SBLINK R", "MSG\t1405 !V IMGLOAD FILL mask.png\nSBLINK R")
    _check(read(_write(tmp_path / "x.asc", lines)), stimuli=["images/cat 1.jpg", "mask.png"], start=[10, 5])
    video = ASC.replace("MSG\t1110 -10 SYNCTIME\n", "").replace(
        "!V IMGLOAD CENTER ..\\images\\cat 1.jpg 640 512 800 600", "!V VFRAME 1 240 212 clip.avi"
    )
    found = read(_write(tmp_path / "x.asc", video))
    _check(found, stimuli=["clip.avi", "clip.avi", "dog.png"], start=[18, 298, 20])


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("!V TRIAL_VAR image sets\\dog.png", "sets/dog.png"),
        ("!V TRIAL_VAR image_name dog 7", "dog 7"),
        ("!V TRIAL_VAR condition dog", ""),
        ("stimulus=C:\\data\\dog.png shown", "data/dog.png"),
        ("show image:dog.png", "dog.png"),
        ("trial 3 shows dog.png", "dog.png"),
        ("!V IMGLOAD FILL ../dog one.png", "dog one.png"),
        ("!V IMGLOAD TOP_LEFT dog.png 0 0 640 480", "dog.png"),
    ],
)
def test_eyelink_asc_names_in_messages(tmp_path, message, name):
    text = ASC[ASC.index("MSG\t2001") :].replace("!V TRIAL_VAR image dog.png", message)
    text = "MSG\t2000 GAZE_COORDS 0.00 0.00 1920.00 1080.00\n" + text
    _check(read(_write(tmp_path / "x.asc", text)), stimuli=[name], screen=(1080, 1920), observers=[""])


def test_eyelink_asc_samples_of_both_eyes(tmp_path):
    text = """** CONVERTED FROM bob.edf using edfapi
MSG\t1001 TRIALID dog.png
START\t1010 \tLEFT\tRIGHT\tSAMPLES
SAMPLES\tGAZE\tLEFT\tRIGHT\tRATE\t1000.00\tTRACKING\tCR\tFILTER\t2
MSG\t1011 SYNCTIME
1010\t  1.0\t  1.0\t 900.0\t  1.0\t  1.0\t 900.0\t.....
1011\t  10.0\t  20.0\t 900.0\t  12.0\t  24.0\t 900.0\t.....
1012\t   .\t   .\t  0.0\t  12.5\t  24.5\t 900.0\t.....
1013\t   .\t   .\t  0.0\t   .\t   .\t  0.0\t.....
1014\t  10.0
END\t1014 \tSAMPLES\tRES\t47\t46
"""
    path = _write(tmp_path / "x.asc", text)
    found = read(path)
    _check(
        found,
        kind="samples",
        observers=["bob"] * 3,
        stimuli=["dog.png"] * 3,
        x=[11, 12.5, NAN],
        y=[22, 24.5, NAN],
        start=[0, 1, 2],
    )
    assert "1 line cut off, left out" in found.notes
    _check(read(path, eye="left"), x=[10, NAN, NAN])
    with pytest.raises(UnisalError, match="samples are HREF, not gaze on the screen; convert"):
        read(_write(path, text.replace("SAMPLES\tGAZE", "SAMPLES\tHREF")))


REPORT = (
    ("RECORDING_SESSION_LABEL", "TRIAL_INDEX", "CURRENT_FIX_INDEX", "CURRENT_FIX_X", "CURRENT_FIX_Y",
     "CURRENT_FIX_START", "CURRENT_FIX_DURATION", "IMAGE", "EYE_USED"),
    ("ann", 1, 1, 512.5, 384.25, 4, 210, "sets\\cat.jpg", "RIGHT"),
    ("ann", 1, 2, ".", ".", 230, 90, "sets\\cat.jpg", "RIGHT"),
    ("bob", 2, 1, 100, 200, 12, 180, "dog.jpg", "RIGHT"),
)  # fmt: skip


@pytest.mark.parametrize("way", ["plain", "decimal comma", "another image column", "both eyes"])
def test_eyelink_report(tmp_path, way):
    content = as_text("\t", *REPORT)
    expected = {"start": [4, 12], "duration": [210, 180], "x": [512.5, 100], "y": [384.25, 200]}
    if way == "decimal comma":
        content = content.replace("512.5", "512,5").replace("384.25", "384,25")
    if way == "another image column":
        content = content.replace("IMAGE", "my_scene")
    if way == "both eyes":
        content += "\t".join(["ann", "1", "1", "516.5", "386.25", "8", "206", "sets\\cat.jpg", "LEFT"]) + "\n"
        # From 6 to 214, the means of 4 and 8, of 214 and 214.
        expected |= {"start": [6, 12], "duration": [208, 180], "x": [514.5, 100], "y": [385.25, 200]}
    path = _write(tmp_path / "report.txt", content)
    assert recognise(path) == "eyelink_report"
    found = read(path)
    _check(
        found, stimuli=["sets/cat.jpg", "dog.jpg"], observers=["ann", "bob"], trials=["1", "2"], **expected
    )
    _check(found, space="screen", clock="stimulus", dropped={"no position": 1})


def test_eyelink_report_without_a_column(tmp_path):
    text = as_text("\t", *((*row[:4], *row[5:]) for row in REPORT))
    with pytest.raises(
        UnisalError, match="no column 'CURRENT_FIX_Y'; add it to the report's output variables"
    ):
        read(_write(tmp_path / "report.txt", text))


GAZEPOINT = (
    ("MEDIA_ID", "MEDIA_NAME", "CNT", "TIME(2023/01/02 10:00:00.000)", "TIMETICK(f=10000000)",
     "FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGID", "FPOGV", "BPOGX", "BPOGY", "BPOGV", ""),
    (0, "cat", 0, 0.000, 1, 0.50, 0.40, 0.000, 0.000, 1, 0, 0.50, 0.40, 1, ""),
    (0, "cat", 1, 0.016, 2, 0.51, 0.41, 0.000, 0.016, 1, 1, 0.52, 0.42, 1, ""),
    (0, "cat", 2, 0.032, 3, 0.52, 0.42, 0.000, 0.032, 1, 1, 0.53, 0.43, 1, ""),
    (0, "cat", 3, 0.048, 4, 0.60, 0.10, 0.048, 0.010, 2, 0, 0.00, 0.00, 0, ""),
    (1, "dog", 4, 0.004, 5, 0.20, 0.30, 0.002, 0.100, 1, 1, 0.20, 0.30, 1, ""),
)  # fmt: skip


def test_gazepoint(tmp_path):
    path = _write(tmp_path / "User 3_all_gaze.csv", as_text(",", *GAZEPOINT))
    assert recognise(path) == "gazepoint"
    found = read(path)
    _check(found, kind="fixations", space="screen_fraction", observers=["User 3"] * 2, stimuli=["cat", "dog"])
    _check(found, start=[0, 2], duration=[32, 100], x=[0.52, 0.2], y=[0.42, 0.3], clock="stimulus")
    _check(found, dropped={"never valid": 1}, trials=["1", "2"])
    samples = read(_write(path, as_text(",", *(row[:5] + row[11:] for row in GAZEPOINT))))
    _check(samples, kind="samples", x=[0.5, 0.52, 0.53, NAN, 0.2], start=[0, 16, 32, 48, 4])
    with pytest.raises(UnisalError, match="no column 'FPOGS'; export the data anew from Gazepoint Analysis"):
        read(_write(path, as_text(",", *(row[:7] + row[8:] for row in GAZEPOINT))))


BEGAZE = (
    ("Event Start Trial Time [ms]", "Event End Trial Time [ms]", "Event Duration [ms]", "Stimulus",
     "Participant", "Trial", "Eye L/R", "Category", "Fixation Position X [px]", "Fixation Position Y [px]"),
    (10.5, 210.5, 200, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Left", "Fixation", 400, 300),
    (12.5, 212.5, 200, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Right", "Fixation", 404, 302),
    (210.5, 240.5, 30, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Left", "Saccade", "-", "-"),
    (212.5, 242.5, 30, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Right", "Blink", "-", "-"),
    (300, 400, 100, "Ampel_gr\u00fcn.png", "P 1", "Trial001", "Right", "Fixation", 50, 60),
)  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_smi_begaze_events(tmp_path, encoding):
    path = _write(tmp_path / "events.txt", as_text("\t", *BEGAZE).encode(encoding))
    assert recognise(path) == "smi"
    found = read(path)
    _check(
        found, kind="fixations", space="screen", stimuli=["Ampel_gr\u00fcn.png"] * 2, trials=["Trial001"] * 2
    )
    _check(found, start=[11.5, 300], duration=[200, 100], x=[402, 50], y=[301, 60], clock="stimulus")
    _check(found, dropped={"saccades": 1, "blinks": 1}, observers=["P 1", "P 1"])
    _check(read(path, eye="left"), x=[400], y=[300])
    with pytest.raises(UnisalError, match=r"no column 'Fixation Position X \[px\]'; add it to the export"):
        read(_write(path, as_text("\t", *(row[:8] + row[9:] for row in BEGAZE))))


def test_smi_begaze_samples(tmp_path):
    text = as_text(
        ",",
        ("RecordingTime [ms]", "Trial", "Stimulus", "Participant", "Category Right",
         "Point of Regard Right X [px]", "Point of Regard Right Y [px]",
         "Point of Regard Left X [px]", "Point of Regard Left Y [px]"),
        (5000.0, "T1", "a.jpg", "P1", "Separator", "-", "-", "-", "-"),
        (5004.0, "T1", "a.jpg", "P1", "Fixation", 10, 20, 12, 24),
        (5008.0, "T1", "a.jpg", "P1", "Blink", 0, 0, 0, 0),
        (5012.0, "T2", "b.jpg", "P1", "Fixation", 30, 40, 0, 0),
    )  # fmt: skip
    found = read(_write(tmp_path / "raw.csv", text))
    _check(
        found,
        kind="samples",
        x=[11, NAN, 30],
        y=[22, NAN, 40],
        start=[0, 4, 0],
        stimuli=["a.jpg", "a.jpg", "b.jpg"],
    )


SMI_EVENTS = """[BeGaze]
Converted from:\tC:\\P01.idf
Calibration Area:\t1680\t1050
Subject:\tP01

Table Header for Fixations:
Event Type\tTrial\tNumber\tStart\tEnd\tDuration\tLocation X\tLocation Y\tDispersion X\tDispersion Y\tPlane

UserEvent\t1\t1\t3000000\t# Message: start
Fixation L\t1\t1\t3100000\t3200000\t100000\t840.00\t525.00\t22\t69\t-1
UserEvent\t1\t2\t4000000\t# Message: img\\cat.jpg
Fixation L\t1\t2\t4100000\t4300000\t200000\t996.68\t569.56\t22\t69\t-1
Saccade L\t1\t1\t4300000\t4330000\t30000\t1\t1\t2\t2
Blink L\t1\t1\t4330000\t4400000\t70000
Fixation L\t1\t3\t4500000\t46
"""

SMI_SAMPLES = """## [iView]
## Calibration Area:\t1680\t1050
## Subject:\tP01
##
Time\tType\tTrial\tL POR X [px]\tL POR Y [px]\tR POR X [px]\tR POR Y [px]\tTiming
3000000\tSMP\t1\t1.0\t1.0\t1.0\t1.0\t0
3004000\tMSG\t1\t# Message: cat.jpg
3008000\tSMP\t1\t10.0\t20.0\t12.0\t24.0\t0
3012000\tSMP\t1\t0.00\t0.00\t12.0\t24.0\t0
3016000\tSMP\t1\t0.00\t0.00\t0.00\t0.00\t0
"""


def test_smi_texts(tmp_path):
    path = _write(tmp_path / "events.txt", SMI_EVENTS)
    assert recognise(path) == "smi"
    found = read(path)
    _check(found, kind="fixations", screen=(1050, 1680), observers=["P01"], stimuli=["img/cat.jpg"])
    _check(found, start=[100], duration=[200], x=[996.68], y=[569.56], clock="stimulus")
    _check(found, dropped={"saccades": 1, "blinks": 1, "no stimulus on the screen": 1})
    assert found.notes == ("1 line cut off, left out",)
    found = read(_write(path, SMI_SAMPLES))
    _check(found, kind="samples", screen=(1050, 1680), stimuli=["cat.jpg"] * 3, start=[4, 8, 12])
    _check(found, x=[11, 12, NAN], y=[22, 24, NAN], dropped={"no stimulus on the screen": 1})
    # BeGaze adds the stimulus to each row; "-" is none.
    lines = SMI_SAMPLES.splitlines()
    lines[4:] = [
        line + end for line, end in zip(lines[4:], ("\tStimulus", "\t-", "", *["\tb.png"] * 3), strict=True)
    ]
    found = read(_write(path, "\n".join(lines)))
    _check(found, stimuli=["b.png"] * 3, start=[0, 4, 8], dropped={"no stimulus on the screen": 1})


def bids_dataset(
    folder, samples, about=(), events="onset\tduration\tstim_file\n1\t0.5\timages/cat.png\n2\tn/a\tdog.png\n"
):
    """A dataset of one recording, its JSON at the root as far as it is common to all."""
    inside = folder / "sub-01" / "beh"
    inside.mkdir(parents=True, exist_ok=True)
    told = {"SamplingFrequency": 100, "Columns": ["timestamp", "x_coordinate", "y_coordinate", "pupil_size"]}
    (folder / "task-view_physio.json").write_text(json.dumps(told | {"PhysioType": "eyetrack"}))
    own = {"StartTime": 0.5, "RecordedEye": "left", "x_coordinate": {"Units": "pixel"}} | dict(about)
    (inside / "sub-01_task-view_recording-eye1_physio.json").write_text(json.dumps(own))
    (folder / "task-view_events.json").write_text(
        json.dumps({"StimulusPresentation": {"ScreenResolution": [800, 600]}})
    )
    (inside / "sub-01_task-view_events.tsv").write_text(events)
    path = inside / "sub-01_task-view_recording-eye1_physio.tsv.gz"
    path.write_bytes(gzip.compress(as_text("\t", *samples).encode()))
    return path


# A sample each 100 ms, counted in milliseconds from 70000; the recording begins at 0.5 s of the events' time.
BIDS = [(70000 + 100 * n, 10 * n, 5 * n if n != 7 else "n/a", 900) for n in range(20)]


def test_bids_samples(tmp_path):
    path = bids_dataset(tmp_path, BIDS, {"SamplingFrequency": 10})
    assert recognise(path) == "bids"
    found = read(path)
    # Shown: the samples at 1.0 to 1.4 s (number 5 to 9), and from 2.0 s on (15 to 19).
    _check(
        found, kind="samples", space="screen", screen=(600, 800), observers=["sub-01"] * 10, clock="stimulus"
    )
    _check(found, stimuli=["images/cat.png"] * 5 + ["dog.png"] * 5, start=[0, 100, 200, 300, 400] * 2)
    _check(
        found, x=[50, 60, 70, 80, 90, 150, 160, 170, 180, 190], y=[25, 30, NAN, 40, 45, 75, 80, 85, 90, 95]
    )
    _check(found, dropped={"no stimulus on the screen": 10})


def test_bids_events_on_the_trackers_clock(tmp_path):
    # As in BIDS' own example: seconds of the clock whose milliseconds the timestamps are.
    path = bids_dataset(
        tmp_path, BIDS, {"SamplingFrequency": 10}, "onset\tduration\tstim_file\n71.25\t0.2\tcat.png\n"
    )
    about = {"OnsetSource": "timestamp", "StimulusPresentation": {"ScreenResolution": [800, 600]}}
    (tmp_path / "task-view_events.json").write_text(json.dumps(about))
    _check(read(path), x=[130, 140], start=[50, 150], stimuli=["cat.png"] * 2, screen=(600, 800))


def test_bids_fixations_of_the_trackers_events(tmp_path):
    path = bids_dataset(tmp_path, BIDS, {"timestamp": {"Units": "ms"}})
    events = path.with_name(path.name.replace("_physio.", "_physioevents."))
    events.write_bytes(gzip.compress(b"70500\t0.2\tfixation\n70700\t0.05\tsaccade\n71500\t0.3\tfixation\n"))
    about = json.dumps({"Columns": ["onset", "duration", "trial_type"]})
    events.with_name(events.name.replace(".tsv.gz", ".json")).write_text(about)
    found = read(path)
    # The first lasts over the samples 5 and 6, the second over 15 to 17.
    _check(found, kind="fixations", start=[0, 0], duration=[200, 300], x=[55, 160], y=[27.5, 80])
    _check(found, stimuli=["images/cat.png", "dog.png"], dropped={"saccades": 1})
    with pytest.raises(UnisalError, match="holds events; give the _physio file"):
        read(events)


def test_bids_what_is_not_read(tmp_path):
    for about, message in (
        ({"x_coordinate": {"Units": "degree"}}, "the unit of 'x_coordinate' is 'degree'; pixels"),
        ({"SampleCoordinateSystem": "gaze-in-world"}, "'gaze-in-world', not 'gaze-on-screen'"),
        ({"SamplingFrequency": None}, "neither Units of 'timestamp' nor a SamplingFrequency"),
    ):
        with pytest.raises(UnisalError, match=message):
            read(bids_dataset(tmp_path, BIDS, about))
    found = read(bids_dataset(tmp_path, BIDS, {"SamplingFrequency": 10}, events="onset\tduration\n1\t1\n"))
    assert len(found.x) == 20 and found.stimuli[0] == "" and "no stim_file" in found.notes[0]


TABLE = (
    ("image", "subject", "x", "y", "onset", "duration"),
    ("a.png", "s1", 10.5, 20, 5, 200),
    ("b.png", "s2", 30, 40, 6, 150),
)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   "])
def test_tables_with_any_separator(tmp_path, separator):
    path = _write(tmp_path / "t.txt", as_text(separator, *TABLE))
    assert recognise(path) == "table"
    found = read(path)
    _check(found, kind="fixations", space="stimulus", stimuli=["a.png", "b.png"], observers=["s1", "s2"])
    _check(found, x=[10.5, 30], y=[20, 40], start=[5, 6], duration=[200, 150], frames=None)


def test_tables_with_names_of_their_own(tmp_path):
    text = "Szene;Person;X-Wert;Y-Wert;Zeit [s];ok;Bild\n1.png;A;10,5;20,25;0,5;1;3\n1.png;A;1;2;0,75;0;4\n"
    path = _write(tmp_path / "t.csv", text)
    with pytest.raises(
        UnisalError, match=r"no known format: begins with 'Szene;.* looked for Tobii .*--columns"
    ):
        recognise(path)
    with pytest.raises(UnisalError, match=r"no column 'x' among 'Szene', .*; name it with --columns x=NAME"):
        read(path, columns={"stimulus": "Szene"})
    names = {"stimulus": "szene", "observer": "Person", "x": "X-Wert", "y": "Y-Wert", "time": "Zeit [s]"}
    found = read(path, columns=names | {"validity": "ok", "frame": "Bild"})
    _check(found, x=[10.5], y=[20.25], start=[500], frames=[3], dropped={"not valid": 1}, observers=["A"])
    with pytest.raises(UnisalError, match=r"no column 'Zeile' \(--columns trial=...\) among"):
        read(path, columns=names | {"trial": "Zeile"})
    with pytest.raises(UnisalError, match="--columns: no name 'screen'; there are stimulus, observer"):
        read(path, columns=names | {"screen": "ok"})
    with pytest.raises(UnisalError, match="--columns gives one column two names"):
        read(path, columns=names | {"y": "X-Wert"})


def test_tables_of_samples(tmp_path):
    rows = [("stimulus", "x", "y", "time_s")] + [("a.png", n, n, n / 100) for n in range(9)]
    found = read(_write(tmp_path / "t.csv", as_text(",", *rows)))
    _check(found, kind="samples", start=[10.0 * n for n in range(9)])
    assert "raw gaze" in found.notes[0]
    # The last one first.
    assert read(_write(tmp_path / "t.csv", as_text(",", rows[0], *rows[:0:-1]))).kind == "samples"


def test_two_eyes_make_one_list():
    # Left 0-100 and right 10-110 are one; right 120-150 and left 300-400 stand alone; the right eye's
    # 320-340 and 345-395 both fall into the latter, whose mate is the longer. Another trial's never meet.
    start = np.array([0, 300, 10, 120, 320, 345, 350.0])
    end = np.array([100, 400, 110, 150, 340, 395, 360.0])
    right = np.array([0, 0, 1, 1, 1, 1, 1], bool)
    group = np.array([0, 0, 0, 0, 0, 0, 1])
    rows, begin, finish, x, y = merge_fixations(
        group, right, start, end, start * 2, np.where(right, NAN, start)
    )
    assert rows.tolist() == [0, 3, 1, 6]
    assert begin.tolist() == [5, 120, 322.5, 350] and finish.tolist() == [105, 150, 397.5, 360]
    assert x.tolist() == [10, 240, 645, 700]
    np.testing.assert_array_equal(y, [0, NAN, 300, NAN])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"PK\x03\x04" + bytes(40), "an Excel workbook; unpack it, or save the sheet as CSV"),
        (b"SR_RESEARCH_COMBINED_FILE", "convert it with SR Research's edf2asc"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "a zero byte|no known format"),
        (_tobii().encode("utf-16-le"), "a zero byte; save the table as UTF-8"),
        (gzip.compress(_tobii().encode())[:-30], r"cannot be read \(Compressed file ended"),
        (_tobii().splitlines()[0], "no fixations in it as tobii"),
        (
            "\n".join(_tobii().splitlines()[:1] + _tobii().splitlines()[4:5]),
            r"no fixations in it as tobii .1 saccades",
        ),
        (as_text("\t", *TOBII, TOBII[3] + ("", "x")), "19 fields for 17 columns"),
        ("image,subject,x,y\na.png,s,1,5,2,5\n", "6 fields for 4 columns; where numbers have decimal commas"),
        ("image,subject,x,X,y\na.png,s,1,5,2\n", "two columns are called 'x'"),
        ('image,subject,x,y\n"a.png,s,1,2\n', r"not CSV \(unexpected end"),
        (
            "image,subject,x,y\na.png,s,oben,links\n",
            "no fixations in it as table .2 values not a number, such as 'oben'",
        ),
    ],
)
def test_files_that_are_refused_in_a_line(tmp_path, content, message):
    path = _write(tmp_path / "f.txt", content)
    with pytest.raises(UnisalError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_choices_that_are_refused(tmp_path):
    path = _write(tmp_path / "f.txt", _tobii())
    for keywords, message in (
        ({"format": "tobi"}, "no format 'tobi'; there are tobii, pupil_core"),
        ({"eye": "both"}, "no eye 'both'; there are mean, left, right"),
        ({"format": "smi", "columns": {"x": "X"}}, "with --format smi they are known"),
        ({"format": "neon"}, "no column 'fixation detected in reference image'|no column 'gaze detected"),
    ):
        with pytest.raises(UnisalError, match=message):
            read(path, **keywords)
    for name in FORMATS:
        with pytest.raises(UnisalError) as caught:
            read(_write(tmp_path / "g.txt", "one,two\n1,2\n"), format=name)
        assert "g.txt: " in str(caught.value)


def test_lines_that_are_cut_off_or_hold_no_number_are_counted(tmp_path):
    lines = _tobii().splitlines()
    lines[6] = lines[6].replace("401.5", "4o1.5")
    found = read(_write(tmp_path / "f.tsv", "\n".join(lines)[:-30]))
    _check(found, stimuli=["a.png", "b.png"])
    assert found.notes == ("1 line cut off, left out", "1 value not a number, such as '4o1.5'")
    # Two exports one after the other: the second header is no row.
    twice = read(_write(tmp_path / "f.tsv", _tobii() + _tobii()))
    assert twice.stimuli == ["a.png", "b.png"] * 2


def test_large_files_are_read_in_part_only(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "MAX_TABLE_ROWS", 1000)
    monkeypatch.setattr(columns, "MAX_TABLE_NAMES", 100)
    rows = [("stimulus", "x", "y")] + [("a", 1, 2)] * 1100
    with pytest.raises(UnisalError, match="more than 1000 rows"):
        read(_write(tmp_path / "t.csv", as_text(",", *rows)))
    rows = [("stimulus", "x", "y")] + [(f"a{n}", 1, 2) for n in range(110)]
    with pytest.raises(UnisalError, match="more than 100 names in one column"):
        read(_write(tmp_path / "t.csv", as_text(",", *rows)))
