"""Must-keep boxes from tables, faces detected by OpenCV with a stub of YuNet, and posters."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.faces import Faces
from unisal_jax.apps.keep import KeepBoxes
from unisal_jax.apps.poster import Poster, focus_of
from unisal_jax.errors import UnisalError


@pytest.fixture
def table(tmp_path):
    def write(*lines):
        path = tmp_path / "keep.csv"
        path.write_text("\n".join(lines))
        return path

    return write


SIZE = (50, 100)


def test_boxes_without_a_time_hold_always(table):
    keep = KeepBoxes(table("left,top,width,height", "1,2,3,4", "5,6,7,8"))
    assert keep.at(1, None, SIZE) == keep.at(99, 3.9, SIZE) == (Box(1, 2, 3, 4), Box(5, 6, 7, 8))


def test_boxes_that_move_come_and_go(table):
    """Read as in `score-regions`, and clipped to the frame."""
    rows = "3;b;1;2;3;4", "11;a;20;0;10;10", "1;a;-4;10;20;10"
    keep = KeepBoxes(table("Frame; name; x; y; w; h", *rows))
    keep.check(SIZE)
    assert keep.at(1, 0.0, SIZE) == (Box(0, 10, 16, 10),)
    assert keep.at(3, 0.1, SIZE) == (Box(1, 2, 3, 4), Box(1, 8, 18, 10))
    assert keep.at(11, 0.4, SIZE) == (Box(20, 0, 10, 10),) and keep.at(12, 0.5, SIZE) == ()


def test_boxes_that_no_frame_holds(table):
    keep = KeepBoxes(table("left,top,width,height,name", "90,2,20,4,logo"))
    keep.check((50, 110))
    with pytest.raises(UnisalError, match=r"keep\.csv: box 'logo': .* leave the image of 100x50"):
        keep.check(SIZE)
    with pytest.raises(UnisalError, match=r"keep\.csv: no column 'height'"):
        KeepBoxes(table("left,top,width", "1,2,3"))


@pytest.fixture(scope="module")
def bright_model(tmp_path_factory):
    """A model with YuNet's input and outputs, for which a bright cell of 32 pixels is a face of that size."""
    nodes, outputs = [], []
    weights = {"grey": np.full((1, 3, 1, 1), 1 / 765, np.float32), "column": np.array([1, -1, 1])}
    nodes.append(helper.make_node("Conv", ["input", "grey"], ["mean"]))
    for stride in (8, 16, 32):
        cells = (640 // stride) ** 2
        nodes.append(
            helper.make_node(
                "AveragePool", ["mean"], [f"cells_{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            )
        )
        nodes.append(helper.make_node("Reshape", [f"cells_{stride}", "column"], [f"obj_{stride}"]))
        for name, count in (("cls", 1), ("bbox", 4), ("kps", 10)):
            weights[f"{name}_{stride}_by"] = np.full(
                (1, 1, count), float(name == "cls" and stride == 32), np.float32
            )
            nodes.append(
                helper.make_node("Mul", [f"obj_{stride}", f"{name}_{stride}_by"], [f"{name}_{stride}"])
            )
        for name, count in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs.append(
                helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, [1, cells, count])
            )
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    known = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "bright", [image], outputs, known),
        opset_imports=[helper.make_opsetid("", 11)],
    )
    model.ir_version = 8
    path = tmp_path_factory.mktemp("model") / "bright.onnx"
    onnx.save(model, path)
    return path


def test_faces(bright_model):
    """Faces are found in frames of any size, with a margin, and repeated between detections until a cut."""
    faces = Faces(bright_model, fps=25)
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame[128:192, 640:704] = 255  # the cell at row 64, column 320 of the network's input
    black = np.zeros_like(frame)
    (box,) = faces.add(frame)
    # YuNet gives the cell's first corner as the middle of a box of 32 pixels.
    assert box == Box(640 - 42, 128 - 42, 84, 84)
    assert faces.add(black) == faces.add(black) == (box,) and faces.add(black) == ()
    assert faces.add(frame, cut=True) == (box,)
    assert faces.add(black, cut=True) == ()
    (small,) = Faces(bright_model, 25).add(cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA))
    assert (small.left, small.width) == (150, 20)


def test_what_is_no_model_of_faces(tmp_path, capfd):
    path = tmp_path / "model.onnx"
    for content, says in ((None, "no such file"), (b"no model", "not a face detection model")):
        if content:
            path.write_bytes(content)
        with pytest.raises(UnisalError) as error:
            Faces(path, 25)
        assert says in str(error.value) and "github.com/opencv/opencv_zoo" in str(error.value)
        assert "MIT" in str(error.value) and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def blob(row, column, spread, size=(90, 160)):
    rows, columns = np.indices(size)
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2)).astype(np.float32)


def test_a_focus_is_single_small_and_central():
    one = focus_of(blob(45, 80, 5))
    assert one > 0.97
    assert 0.9 * one > focus_of(blob(45, 150, 5)) > 0.7
    assert focus_of(blob(45, 80, 15)) < 0.7 * one
    assert focus_of(blob(45, 30, 5) + blob(45, 130, 5)) < 0.5
    assert focus_of(np.ones((90, 160), np.float32)) < 0.1
    assert focus_of(blob(450, 800, 50, (900, 1600))) == pytest.approx(one, abs=0.02)


def test_the_poster_is_neither_faded_nor_blurred(rng):
    image = rng.integers(0, 256, (90, 160, 3), np.uint8)
    blurred, faded = cv2.GaussianBlur(image, (0, 0), 3), image // 4
    poster = Poster()
    for number in range(30):
        poster.add(image, blob(45, 80, 20 - number % 10), number == 10)
    poster.add(blurred, blob(45, 80, 6), False)
    poster.add(faded, blob(45, 80, 6), False)
    for _ in range(5):  # another shot, of little detail as a whole
        poster.add(blurred, blob(45, 80, 30), True)
    assert poster.best() == (9, focus_of(blob(45, 80, 11)))
