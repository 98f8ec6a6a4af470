"""Exports of Tobii's programs: small files as the manuals describe them."""

import pytest

from tests.helpers.gaze_exports import NAN, TOBII, TOBII_FIXATIONS, TOBII_WAYS, as_text, check, tobii, write
from unisal_jax.errors import UnisalError
from unisal_jax.gaze.read import read, recognise


@pytest.mark.parametrize("content", TOBII_WAYS.values(), ids=TOBII_WAYS)
def test_tobii_fixations(tmp_path, content):
    path = write(tmp_path / "export.tsv", content)
    assert recognise(path) == "tobii"
    check(read(path), **TOBII_FIXATIONS)


def test_tobii_stimulus_coordinates_come_first(tmp_path):
    rows = [TOBII[0] + ("Fixation point X (MCSnorm)", "Fixation point Y (MCSnorm)")]
    rows += [(*row, row[-2] and "0.25", row[-2] and "0.5") for row in TOBII[1:]]
    found = read(write(tmp_path / "export.tsv", as_text("\t", *rows)))
    check(found, space="stimulus_fraction", x=[0.25, 0.25], y=[0.5, 0.5], stimuli=["a.png", "b.png"])
    # Columns that the export has but left empty do not count.
    rows[1:] = [(*row, "", "") for row in TOBII[1:]]
    check(read(write(tmp_path / "export.tsv", as_text("\t", *rows))), **TOBII_FIXATIONS)


def test_tobii_tells_where_the_stimulus_lay_on_the_screen(tmp_path):
    """Centred on 1920x1080: a.png as 1440x1080 and b.png as 800x600."""
    told = {"a.png": (240, 0, 1440, 1080), "b.png": (560, 240, 800, 600), "": ("",) * 4}
    names = [f"Presented Media {name}" for name in ("position X", "position Y", "width", "height")]
    names = [f"{name} (DACSpx)" for name in names[:2]] + names[2:]
    rows = [(*TOBII[0], *names), *((*row, *told[row[6]]) for row in TOBII[1:])]
    found = read(write(tmp_path / "export.tsv", as_text("\t", *rows)))
    check(found, space="stimulus_fraction", stimuli=["a.png", "b.png"])
    check(found, x=[161.5 / 1440, -460 / 800], y=[301.25 / 1080, -150 / 600])
    # Where it is not told of all, nothing of it is taken.
    rows[-2:] = [(*row[:-4], *told[""]) for row in rows[-2:]]
    check(read(write(tmp_path / "export.tsv", as_text("\t", *rows))), **TOBII_FIXATIONS)


def test_tobii_glasses(tmp_path):
    """Only gaze mapped to a snapshot is on a stimulus."""
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
    found = read(write(tmp_path / "export.tsv", as_text("\t", head + names, *rows)))
    check(found, format="tobii", space="stimulus", clock="recording", stimuli=["shelf.jpg", "door"])
    check(found, start=[20, 80], duration=[20, 0], x=[300, 7], y=[40, 8], observers=["P1"] * 2)
    check(found, screen=None, dropped={"saccades": 1})
    with pytest.raises(
        UnisalError, match=r"no column 'Mapped fixation X \[...\]', so .* scene camera's video"
    ):
        read(write(tmp_path / "export.tsv", as_text("\t", head, *(row[:9] for row in rows))))


def test_tobii_screens_of_several_sizes_give_fractions(tmp_path):
    other = [
        (*row[:2], "P2", "Rec2", 1000, 2000, *row[6:]) if row[6] == "b.png" else row for row in TOBII[1:]
    ]
    found = read(write(tmp_path / "export.tsv", as_text("\t", TOBII[0], *other)))
    check(found, space="screen_fraction", screen=None, observers=["P1", "P2"])
    check(found, x=[401.5 / 1920, 100 / 2000], y=[301.25 / 1080, 90 / 1000])
    assert "several sizes" in found.notes[0]


def test_tobii_samples_without_fixation_columns(tmp_path):
    rows = [row[:-2] for row in TOBII]
    path = write(tmp_path / "export.tsv", as_text("\t", *rows))
    found = read(path)
    check(found, kind="samples", x=[952, 700, 400, 403, NAN, 100, 90], start=[0, 16, 33, 50, 66, 0, 17])
    assert "no column 'Fixation point X'" in found.notes[0] and "Data export" in found.notes[0]
    check(read(path, eye="left"), x=[950, 698, 398, 401, NAN, 98, 88])
    with pytest.raises(UnisalError, match="no column 'Gaze point right X'; select it in Pro Lab"):
        read(path, eye="right")


def test_tobii_repeated_showing_is_another_trial(tmp_path):
    rows = [*TOBII, *((str(int(row[0]) + 200), *row[1:]) for row in TOBII[1:])]
    rows[-2:] = [(*row[:14], 7, *row[15:]) for row in rows[-2:]]
    found = read(write(tmp_path / "export.tsv", as_text("\t", *rows)))
    assert found.stimuli == ["a.png", "b.png"] * 2 and len(set(found.trials)) == 4
    check(found, start=[33, 0, 33, 0])


def test_tobii_without_a_column(tmp_path):
    for name in ("Recording timestamp", "Gaze point X"):
        place = TOBII[0].index(name)
        # Without its own fixations.
        rows = [row[:place] + row[place + 1 : -2] for row in TOBII]
        with pytest.raises(UnisalError, match=f"no column '{name}'; select it in Pro Lab under Analyze"):
            read(write(tmp_path / "export.tsv", as_text("\t", *rows)))


def test_tobii_rows_of_fixations_alone(tmp_path):
    rows = [TOBII[0], TOBII[6], TOBII[7], TOBII[9]]
    found = read(write(tmp_path / "export.tsv", as_text("\t", *rows)))
    check(found, start=[0, 0], x=[401.5, 100], dropped={})
    assert "each stimulus' first fixation, not its onset" in found.notes[0]
    assert read(write(tmp_path / "whole.tsv", tobii())).notes == ()


def test_tobii_studio(tmp_path):
    text = (
        "ParticipantName,RecordingName,MediaName,RecordingTimestamp,FixationIndex,GazeEventType,GazeEventDuration,"
        "FixationPointX (MCSpx),FixationPointY (MCSpx)\n"
        "P01,Rec 01,a.jpg,1000,1,Fixation,133,640,360\nP01,Rec 01,a.jpg,1003,1,Fixation,133,640,360\n"
        "P01,Rec 01,a.jpg,1133,,Saccade,20,,\nP01,Rec 01,a.jpg,1153,2,Fixation,90,,\n"
    )
    found = read(write(tmp_path / "studio.tsv", text.replace(",", "\t")))
    check(found, format="tobii", space="stimulus", stimuli=["a.jpg"] * 2, start=[0, 153], duration=[133, 90])
    check(found, x=[640, NAN], y=[360, NAN], observers=["P01", "P01"])
