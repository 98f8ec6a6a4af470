"""All readers with thousands of damaged files (`make fuzz`): only declared errors are raised.

Seeds are fixed, so failures are reproducible; the message identifies the input.
"""

import gzip
import importlib.util
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image, features

from tests.helpers.fuzzing import EACH, Guard, counted, mutated
from tests.helpers.prepared_data import make_clip, write_prepared
from tests.helpers.pth_files import BOTH, FORMATS, small_state, write_value
from unisal_jax.apps.regions import read_regions
from unisal_jax.data.layouts.fixation_tables import read_table
from unisal_jax.data.layouts.truth import read_mat
from unisal_jax.data.prepared import open_prepared, read_frames
from unisal_jax.evaluate.predictions import read_map
from unisal_jax.media.images import read_image
from unisal_jax.media.video import open_video
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.weights import pth, store

pytestmark = pytest.mark.fuzz

IMAGES = ("jpg", "png", "bmp", "tif", "webp", "gif", "ppm")
IN_BOXES = {"avif": features.check("avif"), "heic": importlib.util.find_spec("pillow_heif") is not None}
TABLE = b"stimulus,observer,x,y,frame\nclip,1,10.5,20,3\nclip,2,11,21.25,4\nother,2,1,2,\n"


def damage(kind: str, content: bytes, path: Path, read: Callable[[Path], object], count: int = EACH) -> None:
    """Reads `count` damaged versions of a file as `path`; the intact file must be readable."""
    path.write_bytes(content)
    read(path)
    guard = Guard()
    for number in range(count):
        path.write_bytes(mutated(content, np.random.default_rng([number, *kind.encode()])))
        guard.check(read, path, f"{kind}, damage {number}")
    counted(kind, guard)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize("suffix", IMAGES)
def test_images(image, tmp_path, suffix):
    file = io.BytesIO()
    image.save(file, Image.registered_extensions()[f".{suffix}"])
    damage(suffix, file.getvalue(), tmp_path / f"a.{suffix}", read_image)


@pytest.mark.parametrize("suffix", IN_BOXES)
def test_images_in_boxes(image, tmp_path, suffix):
    if not IN_BOXES[suffix]:
        pytest.skip("what reads it is not installed")
    if suffix == "heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, Image.registered_extensions()[f".{suffix}"])
    # Each starts a process.
    damage(suffix, file.getvalue(), tmp_path / f"a.{suffix}", read_image, EACH // 4)


@pytest.mark.skipif(not IN_BOXES["avif"], reason="a Pillow without AVIF")
def test_animated_avif(image, tmp_path):
    file = io.BytesIO()
    image.save(file, "AVIF", save_all=True, append_images=[image.rotate(180)], duration=100)

    def read(path: Path) -> None:
        with open_video(path) as frames:
            for _ in frames:
                pass

    damage("animated avif", file.getvalue(), tmp_path / "a.avif", read)


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mpg"])
def test_videos(image, tmp_path, suffix):
    import av

    path = tmp_path / f"whole.{suffix}"
    if suffix == "mp4":
        with VideoWriter(path, (24, 32), 6) as writer:
            for shift in range(5):
                writer.write(np.roll(np.asarray(image), shift, 1))
    else:
        with av.open(path, "w") as container:
            stream = container.add_stream("mpeg1video" if suffix == "mpg" else "mpeg4", 25)
            stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
            for shift in range(5):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(np.asarray(image), shift, 1))))
            container.mux(stream.encode(None))

    def read(path: Path) -> None:
        with open_video(path) as frames:
            for _ in frames:
                pass

    damage(suffix, path.read_bytes(), tmp_path / f"a.{suffix}", read)


@pytest.mark.parametrize("kind", FORMATS)
def test_pth(tmp_path, kind):
    content = write_value(tmp_path / "whole", kind, small_state(), BOTH).read_bytes()
    damage(f"pth {kind}", content, tmp_path / "a.pth", pth.read_pth, 2 * EACH)


def numbers(dtype: str) -> bytes:
    file = io.BytesIO()
    np.save(file, (10 * np.random.default_rng(0).random((5, 7))).astype(dtype))
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|u1"])
def test_npy(tmp_path, dtype):
    damage(f"npy {dtype}", numbers(dtype), tmp_path / "a.npy", read_map)


def test_mat(tmp_path):
    path = tmp_path / "whole.mat"
    people = np.zeros((3, 1), [("fixations", object)])
    people["fixations"][:, 0] = [np.array([[1, 2], [3, 4]], np.uint16)] * 3
    scipy.io.savemat(path, {"gaze": people, "resolution": np.array([[480, 640]])}, do_compression=True)
    damage("mat", path.read_bytes(), tmp_path / "a.mat", read_mat)


BOXES = [
    {"name": "a", "left": 1, "top": 2, "width": 3, "height": 4},
    {"left": 0, "top": 0, "width": 5, "height": 6},
]


def test_tables(tmp_path):
    damage("boxes.json", json.dumps(BOXES).encode(), tmp_path / "a.json", read_regions)
    rows = b'name,left,top,width,height\na,1,2,3,4\n"b, c",0,0,5,6\n'
    damage("boxes.csv", rows, tmp_path / "a.csv", read_regions)
    damage("fixations.csv", TABLE, tmp_path / "b.csv", read_table)
    damage("fixations.csv.gz", gzip.compress(TABLE), tmp_path / "b.csv.gz", read_table)


def test_a_checkpoint_folder(golden, tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "a"
    store.save_weights(whole, golden(7))
    files = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.is_file())
    guard = Guard()
    for number in range(100):
        rng = np.random.default_rng(number)
        shutil.copytree(whole, path)
        file = path / files[rng.integers(len(files))]
        file.write_bytes(mutated(file.read_bytes(), rng))
        guard.check(
            store.load_weights, path, f"checkpoint folder, damage {number} of {file.relative_to(path)}"
        )
        shutil.rmtree(path)
    counted("checkpoint folder", guard)


def test_a_prepared_dataset(tmp_path):
    made = write_prepared(tmp_path, "fuzzed", {"train": [make_clip("a", 3, (24, 32))]})
    path = tmp_path / "copy"
    files = sorted(file.relative_to(made) for file in made.rglob("*") if file.is_file())
    guard = Guard()

    def read(path: Path) -> None:
        prepared = open_prepared(path, "train")
        read_frames(prepared, range(len(prepared.records)))

    read(made)
    for number in range(EACH):
        rng = np.random.default_rng(number)
        shutil.copytree(made, path)
        file = path / files[rng.integers(len(files))]
        file.write_bytes(mutated(file.read_bytes(), rng))
        # Errors name a damaged record as dataset/split/video/frame.
        guard.check(read, path, f"prepared, damage {number} of {file.relative_to(path)}", "fuzzed/train/")
        shutil.rmtree(path)
    counted("prepared", guard)
