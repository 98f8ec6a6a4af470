"""What a program may hand over as an image or a density, and what is said of the rest."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from unisal_jax import Region, UnisalError, best_crop, crop_video, score_regions
from unisal_jax.apps.boxes import Box
from unisal_jax.media import VideoWriter, heat_colours, open_video
from unisal_jax.media.arrays import as_density, as_frames
from unisal_jax.media.overlay import overlay


class Foreign:
    """An array of another library, which NumPy views by `__array__` alone."""

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
    """The same numbers, not side by side in memory and from the last to the first."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    view = wide[..., ::-2]
    view[...] = array
    return view


@pytest.mark.parametrize(
    "kind", [jnp.asarray, Image.fromarray, Foreign, np.ndarray.tolist, read_only, spread_out]
)
def test_images_of_any_kind(image, kind):
    if kind is np.ndarray.tolist:
        # Python's own numbers have no width; a list of arrays has.
        with pytest.raises(UnisalError, match=r"image: list of int64 \[20, 30, 3\], but uint8 RGB"):
            as_frames(kind(image), 3, "image")
        kind = list
    np.testing.assert_array_equal(as_frames(kind(image), 3, "image"), image)
    np.testing.assert_array_equal(as_frames([kind(image), image], 4, "images"), [image, image])


def test_what_can_be_viewed_is_not_copied(image, tmp_path):
    image.tofile(tmp_path / "image")
    for given in (image, jnp.asarray(image), np.memmap(tmp_path / "image", np.uint8, "r", 0, image.shape)):
        assert np.shares_memory(as_frames(given, 3, "image"), np.asarray(given))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (jnp.zeros((4, 4, 3)), "float32 [4, 4, 3], but uint8 RGB [height, width, 3] is needed"),
        (np.zeros((3, 4, 4), np.uint8), "uint8 [3, 4, 4]"),
        (Image.new("RGBA", (4, 5)), "uint8 [5, 4, 4]"),
        ("image.png", "str, but"),
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
        as_frames(given, 3, "image")
    assert str(caught.value).startswith("image: ") and says in str(caught.value)


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
