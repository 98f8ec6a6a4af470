"""Exports of the other eye trackers, as the manuals describe them, and errors of all readers."""

import gzip
import json

import numpy as np
import pytest

from tests.helpers.gaze_exports import (
    BEGAZE,
    BIDS,
    GAZEPOINT,
    NAN,
    NEON,
    SMI_EVENTS,
    SMI_SAMPLES,
    TABLE,
    TOBII,
    as_text,
    bids_dataset,
    check,
    tobii,
    write,
)
from unisal_jax.errors import UnisalError
from unisal_jax.gaze import columns
from unisal_jax.gaze.eyes import merge_fixations
from unisal_jax.gaze.formats import FORMATS
from unisal_jax.gaze.read import read, recognise


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
    path = write(tmp_path / "fixations_on_surface_poster 1.csv", "\n".join(lines))
    assert recognise(path) == "pupil_core"
    found = read(path)
    check(found, kind="fixations", space="stimulus_fraction_up", clock="recording", stimuli=["poster 1"] * 2)
    check(found, x=[0.25, 0.5], y=[0.75, 0.25], start=[99980, 100500], duration=[250.5, 180])
    check(found, dropped={"not on the surface": 1}, observers=["", ""])
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    with pytest.raises(UnisalError, match="no column 'on_surf'; export it with the Surface Tracker"):
        read(path)


def test_pupil_core_samples(tmp_path):
    text = (
        "world_timestamp,world_index,gaze_timestamp,x_norm,y_norm,x_scaled,y_scaled,on_surf,confidence\n"
        "1.00,0,1.001,0.1,0.2,1,2,True,0.99\n1.00,0,1.005,0.3,0.4,1,2,True,0.2\n1.03,1,1.005,0.3,0.4,1,2,True,0.2\n"
    )
    found = read(write(tmp_path / "gaze_positions_on_surface_wall.csv", text))
    check(found, kind="samples", x=[0.1, NAN], y=[0.2, NAN], start=[1001, 1005], stimuli=["wall", "wall"])
    assert found.notes == ("1 sample with a confidence below 0.6 treated as lost",)


def test_neon_reference_image(tmp_path):
    path = write(tmp_path / "fixations.csv", NEON)
    assert recognise(path) == "neon"
    found = read(path)
    check(found, kind="fixations", space="stimulus", x=[812.5, 12], y=[400.25, 30], duration=[250, 125])
    check(found, observers=["r1", "r2"], trials=["s1", "s2"], dropped={"not on the stimulus": 1})
    assert found.start[1] - found.start[0] == pytest.approx(1000, abs=0.01)
    write(tmp_path / "sections.csv", "section id,recording id,wearer name\ns1,r1,Ann\ns2,r2,\n")
    check(read(path), observers=["Ann", "r2"])


def test_neon_marker_mapper_gaze_and_the_scene_camera(tmp_path):
    surface = NEON.replace("in reference image", "on surface").replace("[px]", "[normalized]")
    check(read(write(tmp_path / "fixations.csv", surface)), space="stimulus_fraction", x=[812.5, 12])
    gaze = (
        "section id,recording id,timestamp [ns],gaze detected in reference image,"
        "gaze position in reference image x [px],gaze position in reference image y [px]\n"
        "s1,r1,1700000000000000000,True,1,2\ns1,r1,1700000000005000000,False,,\n"
    )
    found = read(write(tmp_path / "gaze.csv", gaze))
    check(found, kind="samples", x=[1, NAN], y=[2, NAN])
    assert np.diff(found.start) == pytest.approx([5], abs=0.01)
    scene = NEON.replace("fixation detected in reference image", "azimuth [deg]")
    with pytest.raises(UnisalError, match="scene camera's image; download the export of a Reference Image"):
        read(write(tmp_path / "fixations.csv", scene))


def test_gazepoint(tmp_path):
    path = write(tmp_path / "User 3_all_gaze.csv", as_text(",", *GAZEPOINT))
    assert recognise(path) == "gazepoint"
    found = read(path)
    check(found, kind="fixations", space="screen_fraction", observers=["User 3"] * 2, stimuli=["cat", "dog"])
    check(found, start=[0, 2], duration=[32, 100], x=[0.52, 0.2], y=[0.42, 0.3], clock="stimulus")
    check(found, dropped={"never valid": 1}, trials=["1", "2"])
    samples = read(write(path, as_text(",", *(row[:5] + row[11:] for row in GAZEPOINT))))
    check(samples, kind="samples", x=[0.5, 0.52, 0.53, NAN, 0.2], start=[0, 16, 32, 48, 4])
    with pytest.raises(UnisalError, match="no column 'FPOGS'; export the data again from Gazepoint Analysis"):
        read(write(path, as_text(",", *(row[:7] + row[8:] for row in GAZEPOINT))))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_smi_begaze_events(tmp_path, encoding):
    path = write(tmp_path / "events.txt", as_text("\t", *BEGAZE).encode(encoding))
    assert recognise(path) == "smi"
    found = read(path)
    check(
        found, kind="fixations", space="screen", stimuli=["Ampel_gr\u00fcn.png"] * 2, trials=["Trial001"] * 2
    )
    check(found, start=[11.5, 300], duration=[200, 100], x=[402, 50], y=[301, 60], clock="stimulus")
    check(found, dropped={"saccades": 1, "blinks": 1}, observers=["P 1", "P 1"])
    check(read(path, eye="left"), x=[400], y=[300])
    with pytest.raises(UnisalError, match=r"no column 'Fixation Position X \[px\]'; add it to the export"):
        read(write(path, as_text("\t", *(row[:8] + row[9:] for row in BEGAZE))))


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
    found = read(write(tmp_path / "raw.csv", text))
    check(
        found,
        kind="samples",
        x=[11, NAN, 30],
        y=[22, NAN, 40],
        start=[0, 4, 0],
        stimuli=["a.jpg", "a.jpg", "b.jpg"],
    )


def test_smi_texts(tmp_path):
    path = write(tmp_path / "events.txt", SMI_EVENTS)
    assert recognise(path) == "smi"
    found = read(path)
    check(found, kind="fixations", screen=(1050, 1680), observers=["P01"], stimuli=["img/cat.jpg"])
    check(found, start=[100], duration=[200], x=[996.68], y=[569.56], clock="stimulus")
    check(found, dropped={"saccades": 1, "blinks": 1, "no stimulus on the screen": 1})
    assert found.notes == ("1 line cut off, skipped",)
    found = read(write(path, SMI_SAMPLES))
    check(found, kind="samples", screen=(1050, 1680), stimuli=["cat.jpg"] * 3, start=[4, 8, 12])
    check(found, x=[11, 12, NAN], y=[22, 24, NAN], dropped={"no stimulus on the screen": 1})
    # BeGaze adds the stimulus to each row; "-" is none.
    lines = SMI_SAMPLES.splitlines()
    lines[4:] = [
        line + end for line, end in zip(lines[4:], ("\tStimulus", "\t-", "", *["\tb.png"] * 3), strict=True)
    ]
    found = read(write(path, "\n".join(lines)))
    check(found, stimuli=["b.png"] * 3, start=[0, 4, 8], dropped={"no stimulus on the screen": 1})


def test_bids_samples(tmp_path):
    path = bids_dataset(tmp_path, BIDS, {"SamplingFrequency": 10})
    assert recognise(path) == "bids"
    found = read(path)
    # Shown: the samples at 1.0 to 1.4 s (number 5 to 9), and from 2.0 s on (15 to 19).
    check(
        found, kind="samples", space="screen", screen=(600, 800), observers=["sub-01"] * 10, clock="stimulus"
    )
    check(found, stimuli=["images/cat.png"] * 5 + ["dog.png"] * 5, start=[0, 100, 200, 300, 400] * 2)
    check(found, x=[50, 60, 70, 80, 90, 150, 160, 170, 180, 190], y=[25, 30, NAN, 40, 45, 75, 80, 85, 90, 95])
    check(found, dropped={"no stimulus on the screen": 10})


def test_bids_events_on_the_trackers_clock(tmp_path):
    # As in BIDS' own example: seconds of the clock whose milliseconds the timestamps are.
    path = bids_dataset(
        tmp_path, BIDS, {"SamplingFrequency": 10}, "onset\tduration\tstim_file\n71.25\t0.2\tcat.png\n"
    )
    about = {"OnsetSource": "timestamp", "StimulusPresentation": {"ScreenResolution": [800, 600]}}
    (tmp_path / "task-view_events.json").write_text(json.dumps(about))
    check(read(path), x=[130, 140], start=[50, 150], stimuli=["cat.png"] * 2, screen=(600, 800))


def test_bids_fixations_of_the_trackers_events(tmp_path):
    path = bids_dataset(tmp_path, BIDS, {"timestamp": {"Units": "ms"}})
    events = path.with_name(path.name.replace("_physio.", "_physioevents."))
    events.write_bytes(gzip.compress(b"70500\t0.2\tfixation\n70700\t0.05\tsaccade\n71500\t0.3\tfixation\n"))
    about = json.dumps({"Columns": ["onset", "duration", "trial_type"]})
    events.with_name(events.name.replace(".tsv.gz", ".json")).write_text(about)
    found = read(path)
    # The first lasts over the samples 5 and 6, the second over 15 to 17.
    check(found, kind="fixations", start=[0, 0], duration=[200, 300], x=[55, 160], y=[27.5, 80])
    check(found, stimuli=["images/cat.png", "dog.png"], dropped={"saccades": 1})
    with pytest.raises(UnisalError, match="holds events; pass the _physio file"):
        read(events)


def test_bids_what_is_not_read(tmp_path):
    for about, message in (
        ({"x_coordinate": {"Units": "degree"}}, "the unit of 'x_coordinate' is 'degree', not pixels"),
        ({"SampleCoordinateSystem": "gaze-in-world"}, "'gaze-in-world', not 'gaze-on-screen'"),
        ({"SamplingFrequency": None}, "neither Units of 'timestamp' nor a SamplingFrequency"),
    ):
        with pytest.raises(UnisalError, match=message):
            read(bids_dataset(tmp_path, BIDS, about))
    found = read(bids_dataset(tmp_path, BIDS, {"SamplingFrequency": 10}, events="onset\tduration\n1\t1\n"))
    assert len(found.x) == 20 and found.stimuli[0] == "" and "no stim_file" in found.notes[0]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   "])
def test_tables_with_any_separator(tmp_path, separator):
    path = write(tmp_path / "t.txt", as_text(separator, *TABLE))
    assert recognise(path) == "table"
    found = read(path)
    check(found, kind="fixations", space="stimulus", stimuli=["a.png", "b.png"], observers=["s1", "s2"])
    check(found, x=[10.5, 30], y=[20, 40], start=[5, 6], duration=[200, 150], frames=None)


def test_tables_with_names_of_their_own(tmp_path):
    text = "Szene;Person;X-Wert;Y-Wert;Zeit [s];ok;Bild\n1.png;A;10,5;20,25;0,5;1;3\n1.png;A;1;2;0,75;0;4\n"
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(
        UnisalError, match=r"no known format matches \(it begins with 'Szene;.*; pass --format, or --columns"
    ):
        recognise(path)
    with pytest.raises(UnisalError, match=r"no column 'x' among 'Szene', .*; name it with --columns x=NAME"):
        read(path, columns={"stimulus": "Szene"})
    names = {"stimulus": "szene", "observer": "Person", "x": "X-Wert", "y": "Y-Wert", "time": "Zeit [s]"}
    found = read(path, columns=names | {"validity": "ok", "frame": "Bild"})
    check(found, x=[10.5], y=[20.25], start=[500], frames=[3], dropped={"not valid": 1}, observers=["A"])
    with pytest.raises(UnisalError, match=r"no column 'Zeile' \(--columns trial=...\) among"):
        read(path, columns=names | {"trial": "Zeile"})
    with pytest.raises(UnisalError, match="--columns: 'screen' is not one of stimulus, observer"):
        read(path, columns=names | {"screen": "ok"})
    with pytest.raises(UnisalError, match="--columns gives one column two names"):
        read(path, columns=names | {"y": "X-Wert"})


def test_tables_of_samples(tmp_path):
    rows = [("stimulus", "x", "y", "time_s")] + [("a.png", n, n, n / 100) for n in range(9)]
    found = read(write(tmp_path / "t.csv", as_text(",", *rows)))
    check(found, kind="samples", start=[10.0 * n for n in range(9)])
    assert "raw gaze" in found.notes[0]
    # The last one first.
    assert read(write(tmp_path / "t.csv", as_text(",", rows[0], *rows[:0:-1]))).kind == "samples"


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
        (tobii().encode("utf-16-le"), "a zero byte; save the table as UTF-8"),
        (gzip.compress(tobii().encode())[:-30], r"cannot be read \(Compressed file ended"),
        (tobii().splitlines()[0], "holds no fixations when read as tobii"),
        (
            "\n".join(tobii().splitlines()[:1] + tobii().splitlines()[4:5]),
            r"holds no fixations when read as tobii .1 saccades",
        ),
        (as_text("\t", *TOBII, TOBII[3] + ("", "x")), "19 fields for 17 columns"),
        ("image,subject,x,y\na.png,s,1,5,2,5\n", "6 fields for 4 columns; if numbers have decimal commas"),
        ("image,subject,x,X,y\na.png,s,1,5,2\n", "two columns have the name 'x'"),
        ('image,subject,x,y\n"a.png,s,1,2\n', r"not CSV \(unexpected end"),
        (
            "image,subject,x,y\na.png,s,oben,links\n",
            "holds no fixations when read as table .2 values not a number, such as 'oben'",
        ),
    ],
)
def test_files_that_are_refused_in_a_line(tmp_path, content, message):
    path = write(tmp_path / "f.txt", content)
    with pytest.raises(UnisalError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_choices_that_are_refused(tmp_path):
    path = write(tmp_path / "f.txt", tobii())
    for keywords, message in (
        ({"format": "tobi"}, "format: 'tobi' is not one of tobii, pupil_core"),
        ({"eye": "both"}, "eye: 'both' is not one of mean, left, right"),
        ({"format": "smi", "columns": {"x": "X"}}, "--columns: applies only to tables, not to --format smi"),
        ({"format": "neon"}, "no column 'fixation detected in reference image'|no column 'gaze detected"),
    ):
        with pytest.raises(UnisalError, match=message):
            read(path, **keywords)
    for name in FORMATS:
        with pytest.raises(UnisalError) as caught:
            read(write(tmp_path / "g.txt", "one,two\n1,2\n"), format=name)
        assert "g.txt: " in str(caught.value)


def test_lines_that_are_cut_off_or_hold_no_number_are_counted(tmp_path):
    lines = tobii().splitlines()
    lines[6] = lines[6].replace("401.5", "4o1.5")
    found = read(write(tmp_path / "f.tsv", "\n".join(lines)[:-30]))
    check(found, stimuli=["a.png", "b.png"])
    assert found.notes == ("1 line cut off, skipped", "1 value not a number, such as '4o1.5'")
    # Two exports one after the other: the second header is no row.
    twice = read(write(tmp_path / "f.tsv", tobii() + tobii()))
    assert twice.stimuli == ["a.png", "b.png"] * 2


def test_large_files_are_read_in_part_only(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "MAX_TABLE_ROWS", 1000)
    monkeypatch.setattr(columns, "MAX_TABLE_NAMES", 100)
    rows = [("stimulus", "x", "y")] + [("a", 1, 2)] * 1100
    with pytest.raises(UnisalError, match="more than 1000 rows"):
        read(write(tmp_path / "t.csv", as_text(",", *rows)))
    rows = [("stimulus", "x", "y")] + [(f"a{n}", 1, 2) for n in range(110)]
    with pytest.raises(UnisalError, match="more than 100 names in one column"):
        read(write(tmp_path / "t.csv", as_text(",", *rows)))
