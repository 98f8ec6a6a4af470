"""Boxes in a video: positions and scores in each frame, input and output files."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.curves import RegionCurves, region_curves
from unisal_jax.apps.moving import MovingRegion, check_moving_regions, read_moving_regions
from unisal_jax.apps.regions import Region
from unisal_jax.errors import UnisalError
from unisal_jax.media.video_writer import VideoWriter

ROWS = """frame,box,x,y,w,h
5,ball,10,20,8,8
1,ball,2,20,4,4
9,ball,,,,
11,ball,30.4,20.5,8,8
12,ball,31,0,8,8
3,dot,0,0,1,1
,"wall; left",0,0,10,60
"""


@pytest.fixture
def regions(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(ROWS)
    return read_moving_regions(path)


def test_where_boxes_are(regions):
    ball, dot, wall = regions
    places = [ball.box_at(frame, None) for frame in range(14)]
    assert places[0] is None and places[13] is None
    assert places[1:6] == [Box(2 * n, 20, 3 + n, 3 + n) for n in range(1, 6)]
    # It holds until it is gone, and comes back at once.
    assert places[6:9] == [Box(10, 20, 8, 8)] * 3 and places[9:11] == [None, None]
    assert places[11:13] == [Box(30, 21, 8, 8), Box(31, 0, 8, 8)]
    assert [dot.box_at(frame, None) for frame in (2, 3, 4)] == [None, Box(0, 0, 1, 1), None]
    assert isinstance(wall, Region) and wall.name == "wall; left" and wall.box_at(99, None) == wall.box


def test_by_seconds(tmp_path):
    path = tmp_path / "boxes.json"
    rows = [{"name": "a", "seconds": at, "left": 10 * at, "top": 0, "w": 4, "h": 4} for at in (0.5, 1.533)]
    path.write_text(json.dumps({"boxes": rows}))
    (region,) = read_moving_regions(path)
    assert region == MovingRegion("a", "seconds", (0.5, 1.533), (Box(5, 0, 4, 4), Box(15, 0, 4, 4)))
    assert region.box_at(1, 0.49) is None and region.box_at(1, 0.4999999) == Box(5, 0, 4, 4)
    assert region.box_at(1, 1.0) == Box(10, 0, 4, 4)
    assert region.box_at(1, 1.53333) == Box(15, 0, 4, 4) and region.box_at(1, 1.54) is None
    with pytest.raises(UnisalError, match="'a': is given by seconds, but frame 7 of the video has no time"):
        region.box_at(7, None)


@pytest.mark.parametrize(
    "text, says",
    [
        ("frame,x,y,w,h\n1,0,0,1,1", "box 1: has a time (frame), so it must have a name"),
        ("frame,name,x,y,w,h\n0,a,0,0,1,1", "frame is '0', not an integer from 1"),
        ("frame,name,x,y,w,h\n1.5,a,0,0,1,1", "frame is '1.5'"),
        ("seconds,name,x,y,w,h\n-1,a,0,0,1,1", "seconds is '-1', not a number from 0"),
        ("seconds,name,x,y,w,h\nnan,a,0,0,1,1", "seconds is 'nan'"),
        ("frame,name,x,y,w,h\n1,a,0,0,1,1\n1,a,2,0,1,1", "box 'a': two rows have frame 1"),
        ("frame,name,x,y,w,h\n1,a,0,0,1,1\n,a,2,0,1,1", "some rows have a time and one has none"),
        (
            "frame,seconds,name,x,y,w,h\n1,,a,0,0,1,1\n,2,a,2,0,1,1",
            "some rows have frame and some sec",
        ),
        ("frame,name,x,y,w,h\n1,a,,,,", "box 'a': no row has left, top, width, height"),
        ("frame,name,x,y,w,h\n1,a,0,0,1,", "box 'a': no height"),
        ("frame,name,x,y,w,h\n1,a,0,0,1,wide", "height is 'wide'"),
        ("frame,name,x,y,w,h\n1,a,0,0,0.4,1", "0x1 is empty"),
        ("name,x,left,y,w,h\na,0,0,0,1,1", "two columns are called 'left'"),
    ],
)
def test_files_that_are_refused(tmp_path, text, says):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UnisalError) as error:
        read_moving_regions(tmp_path / "a.csv")
    assert str(error.value).startswith(f"{tmp_path / 'a.csv'}: ") and says in str(error.value)


def test_boxes_outside():
    off = MovingRegion("off", "frame", (1.0, 2.0), (Box(80, 0, 5, 5), Box(-9, 0, 9, 9)))
    partly = MovingRegion("partly", "frame", (1.0,), (Box(79, 0, 5, 5),))
    check_moving_regions([partly, Region("still", Box(0, 0, 80, 60))], (60, 80))
    with pytest.raises(UnisalError, match="'off': is always outside the frames of 80x60"):
        check_moving_regions([off], (60, 80))
    with pytest.raises(UnisalError, match=r"'still': .* leave the image"):
        check_moving_regions([Region("still", Box(0, 0, 81, 60))], (60, 80))


def test_curves_are_plain_sums(rng):
    densities = rng.random((4, 30, 50)).astype(np.float32)
    moving = MovingRegion("m", "frame", (2.0, 4.0), (Box(-4, 0, 10, 10), Box(4, 6, 10, 10)))
    still, late = Region("s", Box(3, 4, 20, 5)), MovingRegion("late", "frame", (9.0,), (Box(0, 0, 1, 1),))
    curves = RegionCurves([moving, still, late])
    found = [
        curves.add(density, seconds) for density, seconds in zip(densities, (0, 0.1, 0.3, None), strict=True)
    ]
    assert [[score.name for score in scores] for scores in found] == [["s"], *[["m", "s"]] * 3]
    assert found == list(region_curves(densities, [moving, still, late]))
    # Of a box that is partly outside the part inside counts.
    score = found[1][0]
    assert score.box == Box(0, 0, 6, 10)
    want = densities[1, :10, :6].sum(dtype=np.float64) / densities[1].sum(dtype=np.float64)
    assert score.attention == pytest.approx(want, abs=1e-12)
    assert score.relative == pytest.approx(densities[1, :10, :6].mean() / densities[1].mean(), rel=1e-5)
    shares = curves.attention["m"]
    assert math.isnan(shares[0]) and curves.mean("m") == pytest.approx(np.mean(shares[1:]))
    summary = {entry["name"]: entry for entry in curves.summary()}
    best = max(range(1, 4), key=lambda frame: shares[frame])
    assert summary["m"]["highest"]["frame"] == best + 1 and summary["m"]["frames"] == 3
    assert summary["late"] == {"attention": None, "frames": 0, "name": "late", "rank": 3, "relative": None}
    assert {summary["m"]["rank"], summary["s"]["rank"]} == {1, 2}
    frames = curves.frames_json()
    assert frames[0] == {
        "attention": {"s": pytest.approx(found[0][0].attention, abs=1e-5)},
        "frame": 1,
        "seconds": 0,
    }
    assert "seconds" not in frames[3]


@pytest.fixture
def score(command, golden_file, tmp_path, rng):
    """score(*flags): scores the boxes of ROWS in a clip of 12 frames."""
    (tmp_path / "boxes.csv").write_text(ROWS)
    with VideoWriter(tmp_path / "clip.mp4", (60, 80), 10) as writer:
        for _ in range(12):
            writer.write(rng.integers(0, 256, (60, 80, 3), np.uint8))

    def run(*flags, source="clip.mp4"):
        network = ("--weights", golden_file, "--input-size", "96x128")
        return command(
            "score-regions", tmp_path / source, "--boxes", tmp_path / "boxes.csv", *network, *flags
        )

    return run


def test_command_writes_curves(score, tmp_path):
    pytest.importorskip("matplotlib")
    outputs = {kind: tmp_path / f"out.{kind}" for kind in ("json", "csv", "png")}
    flags = ("--json", outputs["json"], "--csv", outputs["csv"], "--plot", outputs["png"])
    status, out, err = score(*flags)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split() == ["rank", "attention", "over", "uniform", "frames", "box"]
    content = json.loads(outputs["json"].read_text())
    assert [region["name"] for region in content["regions"]] == ["ball", "dot", "wall; left"]
    assert content["regions"][0]["frames"] == 10 and content["regions"][2]["box"]["height"] == 60
    assert len(content["frames"]) == content["about"]["frames"] == 12
    rows = list(csv.DictReader(outputs["csv"].read_text().splitlines()))
    assert len(rows) == 10 + 1 + 12
    for row in rows:
        frame = content["frames"][int(row["frame"]) - 1]
        assert float(row["attention"]) == frame["attention"][row["name"]]
        assert float(row["seconds"]) == frame["seconds"] == pytest.approx((frame["frame"] - 1) / 10)
    assert [row["left"] for row in rows if row["name"] == "ball"][:3] == ["2", "4", "6"]
    # The still box's score is of the mean density.
    wall = np.mean([float(row["attention"]) for row in rows if row["name"] == "wall; left"])
    assert content["regions"][2]["attention"] == pytest.approx(wall, abs=1e-5)
    with Image.open(outputs["png"]) as plot:
        assert plot.size[0] > 1000 and len(plot.convert("RGB").getcolors(1 << 20)) > 20
    # What was written can be read: the boxes of each frame.
    again = read_moving_regions(outputs["csv"])
    assert [region.box_at(4, None) for region in again] == [Box(8, 20, 7, 7), Box(0, 0, 10, 60), None]


def test_command_refuses(score, tmp_path):
    Image.new("RGB", (80, 60)).save(tmp_path / "a.png")
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "frames" / "1.png")
    for flags, source, says in (
        (("--csv", tmp_path / "c.csv"), "a.png", "--csv: shows attention over time"),
        ((), "a.png", "has a column 'frame', which applies only to videos"),
        (("--csv", tmp_path / "same", "--json", tmp_path / "same"), "clip.mp4", "two name the same file"),
        (("--plot", tmp_path / "p.jpg"), "clip.mp4", "p.jpg: must be a .png or .svg file"),
        (("--csv", tmp_path / "no" / "c.csv"), "clip.mp4", "c.csv: cannot be written"),
    ):
        status, out, err = score(*flags, source=source)
        assert (status, out, err.count("\n")) == (1, "", 1) and says in err, says
    (tmp_path / "boxes.csv").write_text(ROWS.replace("frame", "seconds"))
    status, _, err = score("--csv", tmp_path / "c.csv", "--video", source="frames")
    assert status == 1 and "frame 1 of the video has no time" in err
    assert not list(tmp_path.glob("*c.csv"))
