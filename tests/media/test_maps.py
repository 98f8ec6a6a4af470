"""Image files read as maps and as fixations: bit depths, colours, floats, blurred marks."""

import cv2
import numpy as np
import pytest
from PIL import Image

from unisal_jax import limits
from unisal_jax.errors import UnisalError
from unisal_jax.media.maps import looks_blurred, read_map_image, read_marks

SHAPE = (24, 32)


def ramp(peak, dtype):
    return np.linspace(0, peak, SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(dtype)


@pytest.mark.parametrize(
    ("name", "dtype", "peak"),
    [
        ("a.png", np.uint8, 255),
        ("a.png", np.uint16, 65535),
        ("a.png", np.uint16, 255),
        ("a.tiff", np.uint16, 65535),
        ("a.pgm", np.uint16, 1000),
        ("a.tiff", np.float32, 1e-4),
        ("a.tiff", np.float64, 1e-4),
        ("a.TIFF", np.float32, 1.0),
    ],
)
def test_samples_as_stored(tmp_path, name, dtype, peak):
    pixels = ramp(peak, dtype)
    cv2.imwrite(str(tmp_path / name), pixels)
    found = read_map_image(tmp_path / name)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, dtype) for name in ("a.png", "a.tiff", "a.ppm") for dtype in (np.uint8, np.uint16)),
        ("a.tiff", np.float32),
        ("a.tiff", np.float64),
    ],
)
def test_colour_is_grey_by_opencvs_weights(tmp_path, rng, name, dtype):
    bgr = (rng.random((*SHAPE, 3)) * 250).astype(dtype)
    cv2.imwrite(str(tmp_path / name), bgr)
    found = read_map_image(tmp_path / name)
    assert found.shape == SHAPE
    weights = bgr.astype(np.float64) @ [0.114, 0.587, 0.299]
    np.testing.assert_allclose(found, weights, atol=1.5)
    assert found.dtype == (np.float32 if np.dtype(dtype).kind == "f" else dtype)


def marks(points=((3, 4), (10, 20))):
    grey = np.zeros(SHAPE, np.uint8)
    grey[tuple(np.transpose(points))] = 1
    return grey


def _palette(path, grey):
    image = Image.fromarray(grey, "P")
    image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    image.save(path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path, grey: Image.fromarray(grey).save(path),
        lambda path, grey: Image.fromarray(grey * 255).save(path),
        lambda path, grey: Image.fromarray(grey > 0).save(path),
        lambda path, grey: Image.fromarray(grey.astype(np.uint16)).save(path),
        lambda path, grey: Image.fromarray(np.dstack([grey * 0, grey * 0, grey])).save(path),
        lambda path, grey: Image.fromarray(np.dstack([grey] * 3 + [grey * 0 + 255])).save(path),
        lambda path, grey: cv2.imwrite(str(path), np.dstack([grey] * 3).astype(np.uint16)),
        _palette,
    ],
    ids=["0/1", "0/255", "1 bit", "16 bits", "blue of 1", "alpha", "colours of 16 bits", "palette"],
)
def test_every_pixel_above_zero_is_a_mark(tmp_path, write):
    write(tmp_path / "f.png", marks())
    samples, lossy = read_marks(tmp_path / "f.png")
    assert not lossy
    np.testing.assert_array_equal(np.argwhere(samples > 0), [[3, 4], [10, 20]])


def test_marks_in_float_tiff_and_bmp(tmp_path):
    for name, pixels in {"f.tif": marks().astype(np.float64) * 1e-3, "f.bmp": marks()}.items():
        cv2.imwrite(str(tmp_path / name), pixels)
        assert (read_marks(tmp_path / name)[0] > 0).sum() == 2


def test_lossy_formats_are_known_by_content(tmp_path):
    grey = Image.fromarray(marks() * 255)
    for name, options, lossy in (
        ("a.png", {"format": "JPEG"}, True),
        ("b.webp", {"quality": 80}, True),
        ("c.webp", {"lossless": True}, False),
        ("d.jpg", {"format": "PNG"}, False),
    ):
        grey.save(tmp_path / name, **options)
        assert read_marks(tmp_path / name)[1] is lossy, name


def test_a_blurred_map_is_no_image_of_fixations(rng):
    points = np.zeros((96, 128), np.uint8)
    points[rng.integers(0, 96, 40), rng.integers(0, 128, 40)] = 255
    counts = np.zeros((96, 128), np.uint16)
    counts[rng.integers(0, 96, 60), rng.integers(0, 128, 60)] = np.arange(1, 61)  # such as durations
    assert not looks_blurred(points) and not looks_blurred(counts)
    # Dilated points are what UCF Sports has: two levels, in the release itself.
    assert not looks_blurred(cv2.dilate(points, np.ones((5, 5))))
    assert looks_blurred(cv2.GaussianBlur(points, (0, 0), 3))
    _, jpeg = cv2.imencode(".jpg", points)
    assert looks_blurred(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE))


def test_claims_are_compared_with_the_limit(tmp_path, monkeypatch):
    import unisal_jax.media.maps as maps

    monkeypatch.setattr(maps, "MAX_MAP_PIXELS", 500)
    assert limits.MAX_MAP_PIXELS > 7680 * 4320
    for name, dtype in (("a.png", np.uint8), ("a.tiff", np.float64)):
        cv2.imwrite(str(tmp_path / name), np.zeros(SHAPE, dtype))
        for read in (read_map_image, read_marks):
            with pytest.raises(UnisalError, match=r"32x24 is larger than 0\.0005 megapixels"):
                read(tmp_path / name)


def test_a_cut_off_float_tiff(tmp_path, capfd):
    cv2.imwrite(str(tmp_path / "a.tiff"), ramp(1, np.float64))
    whole = (tmp_path / "a.tiff").read_bytes()
    for size in (9, 100, len(whole) // 2):
        (tmp_path / "a.tiff").write_bytes(whole[:size])
        with pytest.raises(UnisalError, match=r"a\.tiff: "):
            read_map_image(tmp_path / "a.tiff")
