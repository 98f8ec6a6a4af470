"""Comparing two images or videos: numbers, images, files and exit status."""

import json

import numpy as np
import pytest
from PIL import Image

import unisal_jax
from unisal_jax.apps.boxes import Box
from unisal_jax.apps.compare import BoxChange, compare, losses, matched, resize_density
from unisal_jax.apps.compare_images import Mark, difference, lay_out, side_by_side
from unisal_jax.apps.focal import focal_points
from unisal_jax.apps.regions import Region
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.metrics import cc, kld, sim
from unisal_jax.media.images import read_image
from unisal_jax.media.video import open_video
from unisal_jax.media.video_writer import VideoWriter


def blob(size, row, column, spread=6.0):
    """A Gaussian density, float32 [height, width], that sums to 1."""
    rows, columns = np.indices(size)
    density = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2))
    return (density / density.sum()).astype(np.float32)


def test_the_numbers():
    a, b = blob((120, 160), 40, 60), blob((120, 160), 52, 92)
    regions = [Region("left", Box(0, 0, 80, 120)), Region("right", Box(80, 0, 80, 120))]
    found = compare(a, b, regions)
    left, right = found.boxes
    assert left.a == pytest.approx(a[:, :80].sum(), abs=1e-5) and left.b == pytest.approx(
        b[:, :80].sum(), abs=1e-5
    )
    assert right.change == pytest.approx(-left.change, abs=1e-6)
    assert left.relative_change == pytest.approx(left.b / left.a - 1)
    assert found.centre_a == pytest.approx((40, 60), abs=0.01) and found.centre_b == pytest.approx(
        (52, 92), abs=0.01
    )
    assert found.shift == pytest.approx((12 / 120, 32 / 160), abs=1e-4)
    assert found.similarity.cc == pytest.approx(float(cc(b, a))) and found.similarity.sim == pytest.approx(
        float(sim(b, a))
    )
    assert found.similarity.kld == pytest.approx(float(kld(b, a)))
    assert [(point.row, point.column) for point in found.focal_b] == [(52, 92)]
    assert compare(b, a, regions[::-1], regions).boxes[0].name == "right"
    assert unisal_jax.compare is compare


def test_equal_densities_and_sizes():
    a, b = blob((120, 160), 40, 60), blob((60, 80), 19.75, 29.75, 3.0)
    same = compare(a, a, [Region("x", Box(40, 30, 40, 20))])
    assert same.boxes[0].change == 0 and same.shift == (0, 0)
    assert same.similarity.cc == pytest.approx(1) and same.similarity.kld == pytest.approx(0, abs=1e-6)
    half = compare(a, b, [Region("x", Box(40, 30, 40, 20))], [Region("x", Box(20, 15, 20, 10))])
    assert half.similarity.cc > 0.999 and half.boxes[0].change == pytest.approx(0, abs=5e-3)
    assert half.shift == pytest.approx((0, 0), abs=1e-3)
    for size in ((60, 80), (31, 47), (240, 320)):
        resized = resize_density(a, size)
        assert resized.shape == size and resized.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)


def test_focal_points():
    density = 0.7 * blob((300, 400), 80, 100, 15) + 0.3 * blob((300, 400), 210, 300, 20)
    points = focal_points(density)
    assert [(point.row, point.column) for point in points] == [(80, 100), (210, 300)]
    assert [point.attention for point in points] == pytest.approx([0.7, 0.3], abs=0.01)
    assert focal_points(density, 1) == points[:1]
    (only,) = focal_points(np.ones((40, 30)))
    assert only.attention == pytest.approx(1)
    with pytest.raises(UnisalError, match="density"):
        focal_points(np.zeros((40, 30)))


def test_boxes_go_by_name():
    x, y = Region("x", Box(0, 0, 1, 1)), Region("y", Box(1, 1, 1, 1))
    assert matched([x, y], [y, x]) == [(x, x), (y, y)]
    with pytest.raises(UnisalError, match="'y': is given for A but not for B"):
        matched([x, y], [x])
    with pytest.raises(UnisalError, match="'y': is given for B but not for A"):
        matched([x], [x, y])


def test_losses():
    boxes = [
        BoxChange("a", 0.3, 0.279),
        BoxChange("b", 0.3, 0.281),
        BoxChange("c", 0.1, 0.9),
        BoxChange("d", 0.1, None),
    ]
    assert losses(boxes, 2) == boxes[:1] and losses(boxes, 0) == boxes[:2] and losses(boxes, 50) == []
    assert boxes[3].to_json() == {"a": 0.1, "b": None, "change": None, "name": "d", "relative_change": None}
    assert BoxChange("e", 0.0, 0.1).relative_change is None


def test_layouts():
    beside = lay_out((600, 512), (300, 512))
    assert beside.panels == ((600, 512), (600, 1024)) and not beside.below
    wide = lay_out((90, 728), (90, 728))
    assert wide.below and wide.panels[0][1] == 1280
    for sizes in (((60, 80), (60, 80)), ((4000, 6000), (4000, 1000)), ((5, 900), (900, 5))):
        layout = lay_out(*sizes)
        assert all(2 <= side <= 1280 and side % 2 == 0 for panel in layout.panels for side in panel)


def test_the_images(rng):
    size = (480, 640)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    a, b, layout = blob(size, 100, 150, 40), blob(size, 300, 450, 40), lay_out(size, size)
    sheet = side_by_side(
        layout, (image, image), (a, b), ("A", "B"), ([Mark(Box(50, 60, 100, 80), "logo")], ())
    )
    assert sheet.shape[0] == 480 + layout.strip and sheet.shape[1] > 2 * 640
    edge = sheet[layout.strip + 60 + 1, 60:140]
    assert (edge == 255).all()
    plain = side_by_side(layout, (image, image), (a, b), ("A", "B"))
    assert (plain[:, -640:] == sheet[:, -640:]).all() and (plain[:, :640] != sheet[:, :640]).any()
    changed = difference(layout, image, (a, b), "from A to B")[layout.strip :].astype(int)
    less, more = changed[100, 150], changed[300, 450]
    assert less[2] > less[0] + 50 and more[0] > more[2] + 50
    assert np.ptp(changed[450, 20:60], axis=-1).max() == 0  # grey where nothing moved
    still = difference(layout, image, (a, a), "from A to A")[layout.strip :]
    assert np.ptp(still, axis=-1).max() == 0


@pytest.fixture
def place(tmp_path, rng):
    """A folder with images, videos and boxes."""
    a = rng.integers(0, 256, (60, 80, 3), np.uint8)
    b = a.copy()
    b[10:40, 10:40] = 128
    for name, pixels in (("a", a), ("b", b), ("small", a[::2, ::2])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    for name, count, fps, pixels in (("a", 5, 10, a), ("b", 5, 10, b), ("long", 8, 16, b)):
        with VideoWriter(tmp_path / f"{name}.mp4", (60, 80), fps) as writer:
            for number in range(count):
                writer.write(np.roll(pixels, number, axis=1))
    (tmp_path / "boxes.csv").write_text("name,x,y,w,h\nplain,10,10,30,30\nrest,40,0,40,60\n")
    (tmp_path / "half.csv").write_text("name,x,y,w,h\nrest,20,0,20,30\nplain,5,5,15,15\n")
    return tmp_path


@pytest.fixture
def run(command, golden_file, place):
    def run(a, b, *flags):
        return command(
            "compare", place / a, place / b, "--weights", golden_file, "--input-size", "96x128", *flags
        )

    return run


def test_command_on_images(run, place):
    out, numbers = place / "new" / "out", place / "n.json"
    flags = ("--boxes", place / "boxes.csv", "--out", out, "--json", numbers)
    status, said, err = run("a.png", "b.png", *flags)
    assert (status, err) == (0, "") and said.splitlines()[1].split()[3] == "plain"
    first = numbers.read_bytes()
    found = json.loads(first)
    assert found["about"] == {
        "a": "a.png",
        "b": "b.png",
        "boxes": "boxes.csv",
        "compared": "images",
        "domain": "salicon",
        "size": {"a": [60, 80], "b": [60, 80]},
    }
    plain, rest = found["boxes"]
    assert plain["name"] == "plain" and plain["box_b"] == {"height": 30, "left": 10, "top": 10, "width": 30}
    assert plain["change"] == pytest.approx(plain["b"] - plain["a"], abs=1e-6)
    assert -1 < found["similarity"]["cc"] < 1 and found["focal_points"]["a"]
    images = [read_image(out / f"{name}.png") for name in ("side_by_side", "difference")]
    assert images[0].shape[1] > 2 * 640 and images[1].shape[1] == 640
    # The other way around what was won is lost. The files are there all the same.
    loss, loser = max((100 * box["change"], box["name"]) for box in (plain, rest))
    assert loss > 0
    for limit, fails in ((0.5 * loss, True), (1.5 * loss, False)):
        status, _, err = run("b.png", "a.png", *flags, "--max-loss", limit)
        found = json.loads(numbers.read_bytes())
        assert status == fails and found["max_loss"] == pytest.approx(limit)
        assert (loser in found["lost"]) == fails
        assert (f"box {loser!r} loses {loss:.2f} percentage points" in err) == fails
    assert run("a.png", "a.png", *flags[:2], "--max-loss", 0)[0] == 0
    run("a.png", "b.png", *flags)
    assert numbers.read_bytes() == first


def test_command_on_images_of_two_sizes(run, place):
    flags = ("--boxes", place / "boxes.csv")
    status, _, err = run("a.png", "small.png", *flags, "--out", place / "out")
    assert status == 1 and "small.png: has 40x30 pixels, but " in err and "--boxes-b" in err
    assert not (place / "out").exists()
    status, said, err = run(
        "a.png", "small.png", *flags, "--boxes-b", place / "half.csv", "--out", place / "out"
    )
    assert status == 0 and "different sizes, 80x60 and 40x30" in err and "rest" in said
    # Without boxes the focal points are drawn.
    assert run("a.png", "small.png", "--out", place / "points")[0] == 0
    marked, boxed = (read_image(place / name / "side_by_side.png") for name in ("points", "out"))
    assert marked.shape == boxed.shape and (marked != boxed).any()


def test_command_on_films_frame_by_frame(run, place):
    (place / "boxes.csv").write_text(
        "frame,name,x,y,w,h\n1,plain,10,10,30,30\n3,plain,12,10,30,30\n,all,0,0,80,60\n"
    )
    flags = ("--boxes", place / "boxes.csv", "--out", place / "out", "--json", place / "n.json")
    status, _, err = run("a.mp4", "b.mp4", *flags)
    assert (status, err) == (0, "")
    found = json.loads((place / "n.json").read_text())
    assert found["about"]["compared"] == "frames" and found["about"]["frames"] == {"a": 5, "b": 5}
    assert [frame["frame"] for frame in found["frames"]] == [1, 2, 3, 4, 5]
    assert ["plain" in frame["attention"]["a"] for frame in found["frames"]] == [True] * 3 + [False] * 2
    for side in "ab":
        shares = [frame["attention"][side]["plain"] for frame in found["frames"][:3]]
        assert found["boxes"][0][side] == pytest.approx(np.mean(shares), abs=1e-5)
    assert found["boxes"][1]["change"] == pytest.approx(0, abs=1e-6)
    alike = [frame["similarity"]["cc"] for frame in found["frames"]]
    assert found["similarity"]["cc"] == pytest.approx(np.mean(alike), abs=1e-5)
    assert sorted(path.name for path in (place / "out").iterdir()) == ["difference.mp4", "side_by_side.mp4"]
    for path in (place / "out").iterdir():
        with open_video(path) as reader:
            assert len(list(reader)) == 5 and reader.fps == 10


def test_command_on_films_of_different_lengths(run, place):
    (place / "boxes.csv").write_text("frame,name,x,y,w,h\n1,early,10,10,30,30\n,all,0,0,80,60\n")
    (place / "late.csv").write_text("frame,name,x,y,w,h\n9,early,10,10,30,30\n,all,0,0,80,60\n")
    flags = (
        "--boxes",
        place / "boxes.csv",
        "--out",
        place / "out",
        "--json",
        place / "n.json",
        "--max-loss",
        5,
    )
    status, _, err = run("a.mp4", "long.mp4", *flags, "--boxes-b", place / "late.csv")
    # A box that is nowhere in B is no pass.
    assert status == 1 and "'early' is in no frame of B" in err and "--max-loss cannot be checked" in err
    found = json.loads((place / "n.json").read_text())
    assert found["about"]["compared"] == "means" and found["about"]["frames"] == {"a": 5, "b": 8}
    assert "frames" not in found and found["unknown"] == ["early"] and found["boxes"][0]["b"] is None
    assert sorted(path.name for path in (place / "out").iterdir()) == ["difference.png", "side_by_side.mp4"]
    with open_video(place / "out" / "side_by_side.mp4") as reader:
        # 0 to 0.4375 s, at the pace of the faster one.
        assert len(list(reader)) == 8 and reader.fps == 16


def test_command_refuses(run, place):
    boxes = ("--boxes", place / "boxes.csv")
    (place / "other.csv").write_text("name,x,y,w,h\nplain,10,10,30,30\nlogo,40,0,40,60\n")
    (place / "off.csv").write_text("name,x,y,w,h\nplain,60,10,30,30\n")
    (place / "side_by_side.png").write_bytes((place / "b.png").read_bytes())
    for a, b, flags, says in (
        ("a.png", "b.mp4", (), "b.mp4: is a video, but "),
        ("a.png", "no.png", (), "no.png: no such file"),
        ("a.png", "b.png", ("--max-loss", 2), "--max-loss: requires --boxes"),
        ("a.png", "b.png", (*boxes, "--max-loss", -1), "--max-loss"),
        ("a.png", "b.png", ("--boxes-b", place / "boxes.csv"), "--boxes-b: requires --boxes"),
        (
            "a.png",
            "b.png",
            (*boxes, "--boxes-b", place / "other.csv"),
            "'rest': is given for A but not for B",
        ),
        ("a.png", "b.png", ("--boxes", place / "off.csv"), "a.png: box 'plain'"),
        ("a.png", "side_by_side.png", ("--out", place), "would overwrite"),
        ("a.png", "b.png", (*boxes, "--json", place / "boxes.csv"), "would overwrite"),
    ):
        before = sorted(place.iterdir())
        status, out, err = run(a, b, *flags)
        assert (status, out, err.count("\n")) == (1, "", 1) and says in err, (says, err)
        assert sorted(place.iterdir()) == before
