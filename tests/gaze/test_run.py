"""`unisal import-gaze`, and trackers' exports in `unisal prepare own`: tables and errors."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.gaze_exports import NEON
from unisal_jax.cli import gaze_flags
from unisal_jax.gaze.eyes import EYES
from unisal_jax.gaze.formats import FORMATS

TOBII = (
    "Recording timestamp\tParticipant name\tPresented Stimulus name\tEye movement type\t"
    "Eye movement type index\tGaze event duration\tFixation point X\tFixation point Y\t"
    "Recording resolution width\tRecording resolution height\tSensor"
)


def tobii(path: Path, person: str, fixations, screen=(800, 600)) -> Path:
    """An export with a row every 10 ms; fixations of (stimulus, duration, x, y) on the screen."""
    lines, time = [TOBII], 1000
    for index, (stimulus, duration, x, y) in enumerate(fixations, 1):
        for _ in range(duration // 10):
            fields = (time, person, stimulus, "Fixation", index, duration, x, y, *screen, "Eye Tracker")
            lines.append("\t".join(map(str, fields)))
            time += 10
        lines.append(
            f"{time}\t{person}\t{stimulus}\tSaccade\t{index}\t10\t\t\t{screen[0]}\t{screen[1]}\tEye Tracker"
        )
        time += 10
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


@pytest.fixture
def lab(tmp_path) -> Path:
    """A folder with stimuli/a.png and b.png of 80x60, and two people's exports in exports/."""
    (tmp_path / "stimuli").mkdir()
    (tmp_path / "exports").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), np.uint8)
    for name, image in zip("ab", pixels, strict=True):
        Image.fromarray(image).save(tmp_path / "stimuli" / f"{name}.png")
    # 10 screen pixels per image pixel.
    for person, shift in (("P1", 0), ("P2", 50)):
        fixations = [
            ("cross.png", 500, 400, 300),
            ("a.png", 200, 100 + shift, 50),
            ("a.png", 250, 700 + shift, 500),
            ("b.png", 300, 405 + shift, 301),
        ]
        tobii(tmp_path / "exports" / f"{person}.tsv", person, fixations)
    return tmp_path


def imported(command, lab, *args):
    status, out, err = command("import-gaze", *args, "--stimuli", lab / "stimuli", "--out", lab / "t.csv")
    return status, out, err


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_flags_and_readers_agree():
    assert tuple(FORMATS) == gaze_flags.FORMATS and sorted(EYES) == sorted(gaze_flags._EYES)


def test_a_folder_of_exports(command, lab):
    (lab / "exports" / "notes.txt").write_text("calibrated twice\n")
    (lab / "exports" / "P3.edf").write_text("SR_RESEARCH_COMBINED_FILE")
    sheet, report = lab / "s.png", lab / "r.json"
    status, out, err = imported(
        command,
        lab,
        lab / "exports",
        "--preview",
        sheet,
        "--json",
        report,
        "--screen-pixels-per-degree",
        "300",
    )
    assert (status, err) == (0, "")
    assert rows_of(lab / "t.csv")[0] == {
        **{"stimulus": "a.png", "observer": "P1", "x": "10", "y": "5", "start": "0", "duration": "200"}
    }
    assert [(row["observer"], row["x"], row["start"]) for row in rows_of(lab / "t.csv")] == [
        *(("P1", "10", "0"), ("P1", "70", "210"), ("P2", "15", "0"), ("P2", "75", "210")),
        *(("P1", "40.5", "0"), ("P2", "45.5", "0")),
    ]
    assert "2 observers, 2 stimuli, 4 viewings, 6 fixations: 1.5 per viewing (1 to 2)" in out
    assert "not in the folder of stimuli: 'cross.png' (2 rows)" in out and "P3.edf, notes.txt" in out
    content = json.loads(report.read_text())
    assert content["pixels_per_degree"]["median"] == 30 and content["stimuli_not_in_folder"] == {
        "cross.png": 2
    }
    assert content["next"].endswith("--sigma 1 --pixels-per-degree 30 --name t --data-dir data")
    assert content["next"] in out
    with Image.open(sheet) as drawn:
        assert drawn.width == 2 * 408 + 8
    before = report.read_bytes()
    assert (
        imported(command, lab, lab / "exports", "--json", report, "--screen-pixels-per-degree", 300)[0] == 0
    )
    assert report.read_bytes() == before


def test_exports_are_prepared_directly(command, lab):
    """Directly, without a table: with the report of the import, and the flags on trackers."""
    files = sorted((lab / "exports").iterdir())
    own = ("prepare", "own", "--raw", lab / "stimuli", "--sigma", 2, "--data-dir", lab / "data")
    status, out, err = command(*own, "--name", "x", "--table", *files, "--drop-first")
    assert status == 0, err
    assert "2 observers, 1 stimulus, 2 viewings, 2 fixations" in out
    assert "dropped: 4 fixations (66.7%): 4 the first of its viewing" in out
    assert "train: 2 images" in out and "1.0 fixations per frame; 1 of 2 without any" in out


def test_any_table(command, lab):
    """Decimal commas, other column names, PsychoPy's coordinates; the last column is ignored."""
    text = "Bild;Wer;PosX;PosY;Zeit;Dauer;extra\na;7;-300,0;250,0;0;200,5;x\nb;7;0;0;100;150;y\n"
    (lab / "psychopy").mkdir()
    (lab / "psychopy" / "P1.csv").write_text(text, encoding="utf-16")
    (lab / "psychopy" / "P1.xlsx").write_bytes(b"PK\x03\x04")
    columns = "stimulus=Bild,observer=Wer,x=PosX,y=PosY,time=Zeit,duration=Dauer"
    status, _, err = imported(
        command,
        lab,
        lab / "psychopy",
        "--columns",
        columns,
        "--coordinates",
        "screen-centre-up",
        "--screen",
        "800x600",
    )
    assert (status, err) == (0, "")
    assert [(row["x"], row["y"], row["duration"]) for row in rows_of(lab / "t.csv")] == [
        *(("10", "5", "200.5"), ("40", "30", "150")),
    ]


def test_mixed_and_half_recorded(command, lab):
    """Other screens and incomplete recordings are reported; a truncated file is read to its end."""
    whole = [("a.png", 200, 400, 300), ("b.png", 200, 400, 300)] * 2
    tobii(lab / "exports" / "P3.tsv", "P3", whole[:1], (1600, 1200))
    text = tobii(lab / "exports" / "P4.tsv", "P4", whole).read_text()
    (lab / "exports" / "P4.tsv").write_text(text[: len(text) // 5])
    status, out, _ = imported(command, lab, lab / "exports")
    assert status == 0 and "screens of several sizes, 800x600, 1600x1200; each file's own" in out
    assert [row["x"] for row in rows_of(lab / "t.csv") if row["observer"] == "P3"] == ["20"]
    assert [row["x"] for row in rows_of(lab / "t.csv") if row["observer"] == "P4"] == ["40"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["bad.tsv"]),
        (b"\x89PNG\r\n\x1a\n\0\0", ["bad.tsv"]),
        (b"hello\nworld\n", ["bad.tsv", "--format"]),
        (TOBII.encode() + b"\n", ["bad.tsv"]),
        (b"stimulus,observer,x,y\nzebra,P1,3,4\n", ["none of the 1 stimuli", "'zebra'"]),
        (b"observer,x,y,time,duration\nP1,3,4,0,200\n", ["bad.tsv", "--stimulus NAME"]),
        (b"stimulus,observer,x,y\na,P1,99999,4\n", ["bad.tsv", "no fixations on", "(1 beside the stimulus)"]),
    ],
)
def test_bad_files_end_in_one_line(command, lab, content, parts):
    (lab / "bad.tsv").write_bytes(content)
    status, out, err = imported(command, lab, lab / "bad.tsv")
    assert status == 1 and out == "" and err.count("\n") == 1 and "Traceback" not in err
    for part in parts:
        assert part in err
    assert not (lab / "t.csv").exists()


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--screen", "1920"), "--screen: '1920' is not WxH"),
        (("--screen", "0x9"), "is not WxH"),
        (("--shown", "1,2,3"), "--shown: '1,2,3' is not one of fit, stretch, actual"),
        (("--shown", "0,0,0,9"), "--shown"),
        (("--screen-cm", "53x"), "--screen-cm"),
        (("--screen-cm", "53"), "--screen-cm: requires --distance-cm"),
        (("--distance-cm", "60"), "--distance-cm: requires --screen-cm"),
        (("--ivt", "speed=3"), "'speed' is not one of velocity, window"),
        (("--ivt", "velocity=x"), "--ivt"),
        (("--columns", "x"), "--columns: 'x' is not OURS=THEIRS"),
        (("--columns", "x=X", "--format", "smi"), "--columns"),
        (("--coordinates", "pixels"), "--coordinates: 'pixels' is not one of screen,"),
        (("--onset", "nan"), "--onset"),
        (("--json", "no/such/r.json"), "no folder"),
        (("--json", "t.csv"), "two name the same file"),
        (("--preview", "p.jpg"), "--preview: p.jpg must end in .png"),
        (("--out", "t.xlsx"), "--out: t.xlsx must end in .csv"),
        (("--preview", "stimuli/a.png"), "would overwrite"),
    ],
)
def test_bad_flags_end_in_one_line(command, lab, monkeypatch, flags, part):
    monkeypatch.chdir(lab)
    status, out, err = command("import-gaze", "exports", "--stimuli", "stimuli", "--out", "t.csv", *flags)
    assert status == 1 and out == "" and err.count("\n") == 1 and part in err
    assert not (lab / "t.csv").exists()


def test_a_whole_export_of_pupil_player(command, lab):
    """The raw fixations beside those on the surface are in the scene camera's image."""
    folder = lab / "ann" / "exports" / "000"
    (folder / "surfaces").mkdir(parents=True)
    header, row = "fixation_id,start_timestamp,duration,norm_pos_x,norm_pos_y", "1,5.0,200,0.25,0.25"
    (folder / "fixations.csv").write_text(f"{header}\n{row}\n")
    assert "no column 'on_surf'; export it" in imported(command, lab, folder)[2]
    (folder / "surfaces" / "fixations_on_surface_a.csv").write_text(f"{header},on_surf\n{row},True\n")
    status, out, _ = imported(command, lab, folder)
    assert status == 0 and "1 files skipped: positions in the scene camera's image" in out
    (row,) = rows_of(lab / "t.csv")
    assert [row[name] for name in ("stimulus", "observer", "x", "y")] == ["a.png", "ann", "20", "45"]


def test_one_stimulus_does_not_stand_for_two_surfaces(command, lab):
    folder = lab / "neon"
    folder.mkdir()
    for name in ("front", "back"):
        (folder / f"fixations_on_surface_{name}.csv").write_text(NEON)
    _, _, err = imported(command, lab, folder, "--stimulus", "a.png")
    assert "another surface than" in err and "import each surface separately" in err
    one = imported(command, lab, folder / "fixations_on_surface_front.csv", "--stimulus", "a.png")
    assert one[0] == 0 and "surface" not in one[1]
    for name in ("front", "back"):
        (folder / f"fixations_on_surface_{name}.csv").rename(folder / f"{name}.csv")
    status, out, _ = imported(command, lab, folder, "--stimulus", "a.png")
    assert status == 0 and "2 files of Neon name no surface; --stimulus a.png is used for all" in out


def test_inputs_that_are_not_there(command, lab):
    assert "no such file" in imported(command, lab, lab / "none.tsv")[2]
    (lab / "empty").mkdir()
    assert "no file of a known format" in imported(command, lab, lab / "empty")[2]
    (lab / "empty" / "P1.xlsx").write_bytes(b"PK\x03\x04")
    assert "known format; " in (err := imported(command, lab, lab / "empty")[2]) and "P1.xlsx: a zip" in err
    prepare = ("prepare", "own", "--raw", lab / "stimuli", "--data-dir", lab / "data", "--screen", "800x600")
    assert "require --table" in command(*prepare)[2]
