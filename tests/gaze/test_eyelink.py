"""EyeLink's ASC files and Fixation Reports, as the manuals describe them."""

import pytest

from tests.helpers.gaze_exports import ASC, NAN, REPORT, as_text, check, write
from unisal_jax.errors import UnisalError
from unisal_jax.gaze.read import read, recognise


def test_eyelink_asc(tmp_path):
    path = write(tmp_path / "x.asc", ASC)
    assert recognise(path) == "eyelink_asc"
    found = read(path)
    # The offset -10 says that the image came 10 ms after the message.
    check(
        found, kind="fixations", space="screen", screen=(1024, 1280), clock="stimulus", observers=["ann"] * 3
    )
    check(found, stimuli=["images/cat 1.jpg"] * 2 + ["dog.png"], trials=["1", "1", "2"])
    check(found, start=[10, 290, 20], duration=[200, 100, 100], x=[700.5, NAN, 100], y=[500.25, NAN, 50])
    check(found, dropped={"saccades": 1, "blinks": 1, "before the stimulus": 1})
    assert found.notes == ("1 trial without SYNCTIME: times count from the recording's start",)
    with pytest.raises(UnisalError, match="the left eye was not recorded; omit --eye left"):
        read(path, eye="left")


def test_eyelink_asc_screens_that_contradict_each_other(tmp_path):
    found = read(
        write(tmp_path / "x.asc", ASC.replace("MSG\t2001", "MSG\t2000 GAZE_COORDS 0 0 799 599\nMSG\t2001"))
    )
    assert found.screen is None and "several sizes, 800x600, 1280x1024; none is used" in found.notes[0]


def test_eyelink_asc_half_recorded(tmp_path):
    half = ASC[: ASC.index("  100.0\t  50.0")]
    found = read(write(tmp_path / "x.asc", half))
    check(found, stimuli=["images/cat 1.jpg"] * 2)
    assert found.notes[0] == "1 line cut off, skipped" and "no END" in found.notes[1]


def test_eyelink_asc_both_eyes(tmp_path):
    text = ASC.replace("EFIX R   2030", "EFIX L   2026\t2124\t100\t  110.0\t  60.0\t   1034\nEFIX R   2030")
    path = write(tmp_path / "x.asc", text)
    found = read(path)
    check(found, start=[10, 290, 18], duration=[200, 100, 100], x=[700.5, NAN, 105], y=[500.25, NAN, 55])
    assert any("both eyes" in note for note in found.notes)
    check(read(path, eye="right"), x=[700.5, NAN, 100])
    check(read(path, eye="left"), x=[110], start=[16])


def test_eyelink_asc_images_one_after_the_other_and_videos(tmp_path):
    lines = ASC.split("MSG\t2001")[0]
    lines = lines.replace("SBLINK R", "MSG\t1405 !V IMGLOAD FILL mask.png\nSBLINK R")
    check(read(write(tmp_path / "x.asc", lines)), stimuli=["images/cat 1.jpg", "mask.png"], start=[10, 5])
    video = ASC.replace("MSG\t1110 -10 SYNCTIME\n", "").replace(
        "!V IMGLOAD CENTER ..\\images\\cat 1.jpg 640 512 800 600", "!V VFRAME 1 240 212 clip.avi"
    )
    found = read(write(tmp_path / "x.asc", video))
    check(found, stimuli=["clip.avi", "clip.avi", "dog.png"], start=[18, 298, 20])


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
    check(read(write(tmp_path / "x.asc", text)), stimuli=[name], screen=(1080, 1920), observers=[""])


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
    path = write(tmp_path / "x.asc", text)
    found = read(path)
    check(
        found,
        kind="samples",
        observers=["bob"] * 3,
        stimuli=["dog.png"] * 3,
        x=[11, 12.5, NAN],
        y=[22, 24.5, NAN],
        start=[0, 1, 2],
    )
    assert "1 line cut off, skipped" in found.notes
    check(read(path, eye="left"), x=[10, NAN, NAN])
    with pytest.raises(UnisalError, match="samples are HREF, not gaze on the screen; convert"):
        read(write(path, text.replace("SAMPLES\tGAZE", "SAMPLES\tHREF")))


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
    path = write(tmp_path / "report.txt", content)
    assert recognise(path) == "eyelink_report"
    found = read(path)
    check(found, stimuli=["sets/cat.jpg", "dog.jpg"], observers=["ann", "bob"], trials=["1", "2"], **expected)
    check(found, space="screen", clock="stimulus", dropped={"no position": 1})


def test_eyelink_report_without_a_column(tmp_path):
    text = as_text("\t", *((*row[:4], *row[5:]) for row in REPORT))
    with pytest.raises(
        UnisalError, match="no column 'CURRENT_FIX_Y'; add it to the report's output variables"
    ):
        read(write(tmp_path / "report.txt", text))
