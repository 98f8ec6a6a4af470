"""Images and densities passed by callers: accepted types, and errors for others."""

import io
import pathlib

import jax.numpy as jnp
import numpy as np
import PIL
import pytest
from PIL import ExifTags, Image, ImageOps

from unisal_jax import Region, UnisalError, best_crop, crop_video, score_regions
from unisal_jax.apps.boxes import Box
from unisal_jax.media import VideoWriter, heat_colours, open_video
from unisal_jax.media.arrays import as_density, as_image, as_images
from unisal_jax.media.images import read_image
from unisal_jax.media.overlay import overlay


class Foreign:
    """An array of another library, which NumPy can view only through `__array__`."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        if self.array is None:
            raise TypeError("can't convert cuda:0\ndevice type tensor to numpy")
        return np.asarray(self.array, dtype)


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def density(rng):
    found = rng.random((20, 30), np.float32)
    return found / found.sum()


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def spread_out(array):
    """The same numbers with non-contiguous, reversed strides."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    view = wide[..., ::-2]
    view[...] = array
    return view


@pytest.mark.parametrize(
    "kind",
    [
        jnp.asarray,
        Image.fromarray,
        Foreign,
        list,
        read_only,
        spread_out,
        lambda a: np.dstack([a, a[..., 0]]),
        lambda a: Image.fromarray(np.dstack([a, a[..., 0]])),
        lambda a: a / 255,
        lambda a: jnp.asarray(a / 255, jnp.float16),
        lambda a: Foreign((a / 255).astype(">f4")),
        lambda a: a / 255 + 1e-3 * np.where(a < 9, -1, 1),
    ],
)
def test_images_of_any_kind(image, kind):
    np.testing.assert_array_equal(as_image(kind(image)), image)
    np.testing.assert_array_equal(as_images([kind(image), image]), [image, image])
    if not isinstance(kind(image), Image.Image):
        stacked = np.stack([np.asarray(kind(image))] * 2)
        np.testing.assert_array_equal(
            as_images(jnp.asarray(stacked) if kind is jnp.asarray else stacked), [image] * 2
        )


def test_grey(image):
    want = np.dstack([image[..., 0]] * 3)
    for grey in (image[..., 0], image[..., :1], image[..., 0] / 255, Image.fromarray(image[..., 0])):
        np.testing.assert_array_equal(as_image(grey), want)
    np.testing.assert_array_equal(as_images(image[None, ..., :1]), want[None])


YCBCR = pytest.param(
    "YCbCr",
    marks=pytest.mark.skipif(
        int(PIL.__version__.split(".")[0]) < 13, reason="Pillow 12 cannot read the YCbCr TIFF that it writes"
    ),
)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "I;16", "CMYK", YCBCR])
def test_pillow_images_are_as_their_files(image, tmp_path, mode):
    """Palette transparency, 16 bits, CMYK and alpha are handled as in `read_image`."""
    if mode == "I;16":
        made = Image.fromarray(image[..., 0].astype(np.uint16) * 257 - image[..., 1])
    else:
        made = Image.fromarray(np.dstack([image, image[..., 0]])).convert(mode)
    assert made.mode == mode
    path = tmp_path / "image.tif"
    if mode in ("PA", "RGBX"):
        made, path = made.convert("RGBA"), tmp_path / "image.png"
    made.save(path)
    want = read_image(path)
    np.testing.assert_array_equal(as_image(made), want)
    np.testing.assert_array_equal(as_image(str(path)), want)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_image(opened), want)


def test_pillow_images_are_turned_upright_once(image, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path, exif=exif)
    want = np.rot90(image, -1)
    np.testing.assert_array_equal(as_image(path), want)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_image(opened), want)
        np.testing.assert_array_equal(as_image(opened.convert("RGB")), want)
        np.testing.assert_array_equal(as_image(ImageOps.exif_transpose(opened)), want)


def test_what_can_be_viewed_is_not_copied(image, tmp_path):
    image.tofile(tmp_path / "image")
    for given in (image, jnp.asarray(image), np.memmap(tmp_path / "image", np.uint8, "r", 0, image.shape)):
        assert np.shares_memory(as_image(given), np.asarray(given))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((4, 4, 3), bool), "bool [4, 4, 3], but uint8 (0 to 255) or floats (0 to 1) are required"),
        (np.zeros((4, 4, 3), np.uint16), "uint16 [4, 4, 3], but uint8"),
        ([[[0, 0, 0]]], "list of int64 [1, 1, 3], but uint8"),
        (np.zeros(4, np.uint8), "uint8 [4], but [height, width], or [height, width, channels] is required"),
        (np.zeros((1, 4, 4, 3)), "float64 [1, 4, 4, 3], but [height, width]"),
        (np.zeros((3, 9, 8), np.uint8), "uint8 [3, 9, 8], whose channels come first; move them with"),
        (jnp.zeros((1, 9, 8)), "float32 [1, 9, 8], whose channels come first"),
        (np.zeros((9, 8, 2), np.uint8), "uint8 [9, 8, 2], but 1 (grey), 3 (RGB) or 4 (RGBA) channels"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 [0, 4, 3], which holds no pixels"),
        (
            np.full((4, 4, 3), 255.0),
            "with values of 255 to 255, but floats from 0 to 1 are required (or uint8",
        ),
        (np.full((4, 4), -1e300), "with values of -inf to -inf"),
        (np.linspace(-1, 1, 16).reshape(4, 4), "float64 [4, 4] with values of -1 to 1, but"),
        (np.where(np.eye(4), np.nan, 0), "with values of NaN"),
        ("no_image.png", "no_image.png: no such file"),
        ("https://user:secret@example.org/a.png", "image: URLs cannot be read; download the file"),
        (pathlib.Path("https://example.org/a.png"), "image: URLs cannot be read"),
        ("data:image/png;base64,AAAA", "image: URLs cannot be read"),
        (Image.new("F", (4, 5)), "floating-point samples have no known range"),
        (Image.new("I", (4, 5)), "32-bit samples have no known range"),
        (None, "NoneType, but"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)], "list, which NumPy cannot view"),
        (
            Foreign(None),
            "Foreign, which NumPy cannot view (can't convert cuda:0 device type tensor to numpy)",
        ),
    ],
)
def test_what_is_no_image(given, says):
    with pytest.raises(UnisalError) as caught:
        as_image(given)
    assert says in str(caught.value) and "secret" not in str(caught.value)
    assert "image" in str(caught.value).split(":")[0] and "\n" not in str(caught.value)


def test_a_video_is_not_an_image(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    with pytest.raises(UnisalError, match=r"clip\.mp4: is a video, not an image; predict_video reads"):
        as_image(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "images: an empty list"),
        ([np.zeros((4, 4)), np.zeros((4, 5))], "images: sizes 4x4, 4x5, but images of one size are required"),
        ([np.zeros((4, 4)), "no.png"], "no.png: no such file"),
        ([np.zeros((4, 4)), None], r"images[1]: NoneType, but"),
        (
            np.zeros((4, 4, 3), np.uint8),
            "images: uint8 [4, 4, 3], but [N, height, width, channels] is required",
        ),
        (np.zeros((2, 3, 9, 8)), "images: float64 [2, 3, 9, 8], whose channels come first"),
        (np.full((2, 4, 4, 3), 2.0), "with values of 2 to 2"),
    ],
)
def test_what_are_no_images(given, says):
    with pytest.raises(UnisalError) as caught:
        as_images(given)
    assert str(caught.value).startswith(says) or says in str(caught.value)


def test_a_truncated_pillow_image(image, tmp_path):
    Image.fromarray(image).save(tmp_path / "image.png")
    data = (tmp_path / "image.png").read_bytes()
    with Image.open(io.BytesIO(data[: len(data) // 2])) as opened, pytest.raises(UnisalError) as caught:
        as_image(opened)
    assert str(caught.value).startswith("image: the image is damaged or cut off (")


KINDS = [
    jnp.asarray,
    Foreign,
    read_only,
    spread_out,
    lambda a: a.astype(">f8"),
    lambda a: a.astype(np.longdouble),
]


@pytest.mark.parametrize("kind", KINDS)
def test_densities_of_any_kind(density, image, kind):
    np.testing.assert_array_equal(as_density(kind(density)), density)
    assert best_crop(kind(density), (1, 1)) == best_crop(density, (1, 1))
    assert list(crop_video([kind(density)] * 3, (1, 1))) == list(crop_video([density] * 3, (1, 1)))
    regions = [Region("a", Box(2, 3, 10, 8))]
    assert score_regions(kind(density), regions)[0].attention == score_regions(density, regions)[0].attention
    np.testing.assert_array_equal(overlay(Foreign(image), kind(density)), overlay(image, density))
    np.testing.assert_array_equal(heat_colours(kind(density)), heat_colours(density))


def test_half_precision(density):
    assert as_density(jnp.asarray(density, jnp.float16)).dtype == np.float32


def test_frames_to_write_are_of_any_kind(image, tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", (20, 30), 5) as writer:
        for kind in (np.asarray, jnp.asarray, spread_out, Image.fromarray):
            writer.write(kind(image))
    first, *rest = open_video(tmp_path / "clip.mp4")
    assert len(rest) == 3 and all(np.abs(each.astype(int) - first).mean() < 5 for each in rest)


@pytest.mark.parametrize("fps", [0, -1, 0.0001, 1e9, float("nan"), float("inf")])
def test_a_rate_that_is_none(tmp_path, fps):
    with pytest.raises(UnisalError, match=r"fps: .* is not between 0\.01 and 1000"):
        VideoWriter(tmp_path / "clip.mp4", (20, 30), fps)
