"""Regions: shares of attention against plain sums, input files, and errors."""

import json

import numpy as np
import pytest
from PIL import Image

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.regions import Region, read_regions, score_regions
from unisal_jax.errors import UnisalError
from unisal_jax.media.video_writer import VideoWriter

BOXES = [
    {"name": "whole", "left": 0, "top": 0, "width": 80, "height": 60},
    {"name": "left", "left": 0, "top": 0, "width": 40, "height": 60},
    {"name": "corner", "left": 70, "top": 55, "width": 10, "height": 5},
]


@pytest.fixture
def image(tmp_path, rng):
    path = tmp_path / "image.png"
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def boxes(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(BOXES))
    return path


@pytest.fixture
def score(command, golden_file, tmp_path):
    def run(*args):
        flags = ("--json", tmp_path / "out.json", "--weights", golden_file, "--input-size", "96x128")
        return command("score-regions", *flags, *args)

    return run


def test_scores_are_plain_sums(rng):
    density = rng.random((30, 50), np.float32)
    made = [Box(0, 0, 50, 30), Box(5, 6, 1, 1), Box(10, 20, 40, 10), Box(10, 20, 40, 10)]
    regions = [Region(str(number), box) for number, box in enumerate(made)]
    scores = score_regions(density, regions)
    double = density.astype(np.float64)
    for score, box in zip(scores, made, strict=True):
        inside = double[box.top : box.top + box.height, box.left : box.left + box.width]
        assert score.attention == pytest.approx(inside.sum() / double.sum(), abs=1e-12)
        assert score.relative == pytest.approx(inside.mean() / double.mean(), rel=1e-9)
        assert double[score.peak] == inside.max()
        assert score.peak_relative == pytest.approx(inside.max() / double.mean(), rel=1e-9)
    assert [score.rank for score in scores] == [1, 4, 2, 2]


def test_a_uniform_density_is_one():
    (score,) = score_regions(np.full((8, 8), 3.0), [Region("a", Box(1, 2, 3, 4))])
    assert score.relative == pytest.approx(1) and score.attention == pytest.approx(12 / 64)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, -1, 5, 5), (46, 0, 5, 5), (0, 26, 5, 5)])
def test_a_box_that_leaves_the_image(box):
    with pytest.raises(UnisalError, match=r"box 'logo': .* leave the image of 50x30"):
        score_regions(np.ones((30, 50)), [Region("logo", Box(*box))])


def test_both_forms_of_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"boxes": BOXES}))
    lines = ["name,left,top,width,height", *(",".join(str(v) for v in box.values()) for box in BOXES)]
    (tmp_path / "a.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    want = [Region(box["name"], Box(*(box[k] for k in ("left", "top", "width", "height")))) for box in BOXES]
    assert read_regions(tmp_path / "a.json") == read_regions(tmp_path / "a.csv") == want
    (tmp_path / "b.csv").write_text("left, top, width, height\n1, 2, 3, 4\n")
    assert read_regions(tmp_path / "b.csv") == [Region("1", Box(1, 2, 3, 4))]


def test_names_of_boxes_keep_line_breaks(tmp_path):
    path = tmp_path / "a.csv"
    for name in ("sky\nblue", "sky\u2028blue", "a;b"):
        path.write_text(f'Name ; Left ; top ; width ; height\r\n"{name}" ; 1 ; 2 ; 3 ; 4\r\n', newline="")
        assert read_regions(path) == [Region(name, Box(1, 2, 3, 4))]
    (tmp_path / "b.json").write_text(json.dumps(BOXES), "utf-16")
    assert len(read_regions(tmp_path / "b.json")) == 3


@pytest.mark.parametrize(
    "name, text, says",
    [
        ("a.txt", "", ".json or .csv"),
        ("a.json", "{", "not a list of boxes"),
        ("a.json", '{"box": []}', "boxes"),
        ("a.json", "[]", "no boxes"),
        ("a.csv", "name,left,top,width,height\n", "no boxes"),
        ("a.json", "[[1, 2, 3, 4]]", "box 1"),
        ("a.json", '[{"left": 1.5, "top": 0, "width": 1, "height": 1}]', "left is 1.5"),
        ("a.json", '[{"left": true, "top": 0, "width": 1, "height": 1}]', "left is True"),
        ("a.json", '[{"name": "x", "left": 1, "top": 0, "height": 1}]', "box 'x': no width"),
        ("a.csv", "left,top,width,height\n1,2,3", "box '1': no height"),
        ("a.csv", "left,top,width,height\n1,2,3,wide", "height is 'wide'"),
        ("a.csv", "", "no column 'left'; a list of boxes has left, top, width, height in its first line"),
        ("a.csv", "name,left,top,width\nx,1,2,3", "no column 'height'"),
        ("a.csv", "left,top,width,height\n1,2,3," + "9" * 5000, "height is '9999"),
        ("a.csv", "left,top,width,height\n1,2,3,4.5", "height is '4.5', not a whole number of pixels"),
        ("a.csv", "left,top,width,height\n1,2,3,4,5", "line 2: 5 fields for 4 columns"),
        ("a.json", '[{"left": NaN, "top": 0, "width": 1, "height": 1}]', "NaN is not a number"),
        ("a.json", '[{"left": 1' + "0" * 400 + ', "top": 0, "width": 1, "height": 1}]', "left is 1000"),
        (
            "a.json",
            '[{"left": 1' + "0" * 9000 + ', "top": 0, "width": 1, "height": 1}]',
            "not a list of boxes",
        ),
        ("a.json", '[{"left": 1, "left": 2, "top": 0, "width": 1, "height": 1}]', "key 'left' occurs twice"),
        ("a.json", '[{"name": ["a"], "left": 1, "top": 0, "width": 1, "height": 1}]', "name is not text"),
        ("a.json", "[" * 100_000, "not a list of boxes"),
        ("a.json", "null", "not a list of boxes"),
        ("a.csv", "name,left,top,width,height\nx,1,2,0,4", "box 'x': 0x4 is empty"),
        ("a.csv", "name,left,top,width,height\nx,1,2,3,4\nx,1,2,3,4", "two boxes are called 'x'"),
    ],
)
def test_files_that_are_refused(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UnisalError) as error:
        read_regions(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name)) and says in str(error.value)
    assert "\n" not in str(error.value)


def test_command_on_an_image(score, image, boxes, tmp_path):
    status, out, err = score(image, "--boxes", boxes)
    assert status == 0, err
    first = (tmp_path / "out.json").read_bytes()
    content = json.loads(first)
    assert content["about"] == {
        "boxes": "boxes.json",
        "domain": "salicon",
        "input": "image.png",
        "size": [60, 80],
    }
    assert [each["name"] for each in content["regions"]] == ["whole", "left", "corner"]
    whole, left, corner = content["regions"]
    assert (whole["attention"], whole["relative"], whole["rank"]) == (1, 1, 1)
    assert 1 > left["attention"] > corner["attention"] > 0
    assert out.splitlines()[1].endswith("whole") and len(out.splitlines()) == 4
    assert score(image, "--boxes", boxes)[0] == 0
    assert (tmp_path / "out.json").read_bytes() == first


def test_command_on_a_video(score, boxes, tmp_path, rng):
    with VideoWriter(tmp_path / "clip.mp4", (60, 80), 10) as writer:
        for _ in range(6):
            writer.write(rng.integers(0, 256, (60, 80, 3), np.uint8))
    status, _, err = score(tmp_path / "clip.mp4", "--boxes", boxes)
    assert status == 0, err
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["about"]["frames"] == 6 and content["about"]["domain"] == "dhf1k"
    assert content["regions"][0]["attention"] == 1


def test_command_refuses(score, image, boxes, tmp_path):
    boxes.write_text(json.dumps([*BOXES, {"name": "off", "left": 75, "top": 0, "width": 6, "height": 6}]))
    for args, says in (
        ((image, "--boxes", boxes), "box 'off'"),
        ((image, "--boxes", tmp_path / "no.json"), "no.json"),
        ((tmp_path / "no.png", "--boxes", boxes), "no.png"),
        ((image,), "--boxes"),
    ):
        if says != "box 'off'":
            boxes.write_text(json.dumps(BOXES))
        status, out, err = score(*args)
        assert (status, out, err.count("\n")) == (1, "", 1) and says in err
    assert not (tmp_path / "out.json").exists()
