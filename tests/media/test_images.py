"""Reading, resizing and writing images."""

import os
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from unisal_jax.errors import UnisalError
from unisal_jax.media import images
from unisal_jax.media.images import list_images, read_image, resize_frame, write_map_png, write_npy, write_png


def smooth_image(height=24, width=36, seed=0):
    rng = np.random.default_rng(seed)
    return cv2.resize(
        rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )


def refusal(path):
    """Returns the error message for `path`, one line that begins with it."""
    with pytest.raises(UnisalError) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tif", "a.TIFF", "a.webp", "a.ppm"])
def test_lossless_formats_read_back_exactly(tmp_path, name):
    image = smooth_image()
    Image.fromarray(image).save(tmp_path / name, **({"lossless": True} if "webp" in name else {}))
    read = read_image(tmp_path / name)
    assert read.dtype == np.uint8 and read.flags.writeable
    np.testing.assert_array_equal(read, image)


def test_jpeg_decodes_as_opencv_does(tmp_path):
    """The original reads with OpenCV; both use libjpeg-turbo and are bit-identical."""
    for number, subsampling in enumerate(("4:4:4", "4:2:2", "4:2:0")):
        path = tmp_path / f"{number}.JPG"
        Image.fromarray(smooth_image(37, 53)).save(path, subsampling=subsampling, quality=80)
        np.testing.assert_array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, :] = 255
    image[:, 0] = 128
    # What the stored rows and columns are in the upright image, from the EXIF standard.
    upright = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.transpose(1, 0, 2),
        6: image.transpose(1, 0, 2)[:, ::-1],
        7: image.transpose(1, 0, 2)[::-1, ::-1],
        8: image.transpose(1, 0, 2)[::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(image).save(path, exif=exif, **options)
    read = read_image(path)
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).max() <= (16 if suffix == "jpg" else 0)


def test_damaged_exif_does_not_spoil_a_whole_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    Image.fromarray(smooth_image()).save(tmp_path / "whole.jpg", exif=exif)
    data = (tmp_path / "whole.jpg").read_bytes()
    start = data.index(b"Exif") + 6
    end = start - 8 + int.from_bytes(data[start - 8 : start - 6], "big")
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[rng.integers(start, end)] = rng.integers(0, 256)
        (tmp_path / "a.jpg").write_bytes(damaged)
        assert sorted(read_image(tmp_path / "a.jpg").shape) == [3, 24, 36]


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_one_bit_and_palette(tmp_path, mode):
    stored = Image.fromarray(smooth_image()).convert(mode)
    stored.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.array(stored.convert("RGB")))


def test_alpha_is_dropped_and_its_colour_kept(tmp_path):
    pixels = np.array([[[255, 0, 10, 0], [0, 255, 20, 128], [1, 2, 3, 255]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), pixels[..., :3])
    Image.fromarray(pixels[..., [0, 3]]).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), np.repeat(pixels[..., :1], 3, axis=2))


def test_palette_with_transparency(tmp_path):
    stored = Image.fromarray(smooth_image()).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    stored.save(tmp_path / "a.png", transparency=bytes([0, 128] + [255] * 14))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.array(stored.convert("RGB")))
    stored.save(tmp_path / "a.gif", transparency=0)
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), np.array(stored.convert("RGB")))


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm", "rgb.png", "rgb.tif", "rgba.png"])
def test_sixteen_bits_keep_the_upper_eight(tmp_path, name):
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, 4)).astype(np.uint16)
    stored = {"grey": samples[..., 0], "rgb": samples[..., :3], "rgba": samples}[name.split(".")[0]]
    cv2.imwrite(str(tmp_path / name), stored)
    rgb = np.repeat(stored[..., None], 3, axis=2) if stored.ndim == 2 else stored[..., 2::-1]
    np.testing.assert_array_equal(read_image(tmp_path / name), (rgb >> 8).astype(np.uint8))


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_comes_out_in_its_own_colours(tmp_path, suffix):
    image = smooth_image()
    Image.fromarray(image).convert("CMYK").save(tmp_path / f"a.{suffix}", quality=100, subsampling=0)
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - image).max() <= 4


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif") == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_sizes(tmp_path, size):
    write_png(tmp_path / "a.png", np.full((*size, 3), 7, np.uint8))
    assert read_image(tmp_path / "a.png").shape == (*size, 3)


def test_missing_empty_folder_text(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.jpg")
    assert "folder" in refusal(tmp_path)
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert "empty" in refusal(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("not an image\n" * 20)
    assert "not a JPEG" in refusal(tmp_path / "text.jpg")
    (tmp_path / "formats.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "not a JPEG" in refusal(tmp_path / "formats.jpg")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_a_range(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "a.tif")
    assert "no known range" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("jpg", {}),
        ("jpg", {"progressive": True}),
        ("png", {}),
        ("bmp", {}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("webp", {}),
        ("gif", {}),
        ("ppm", {}),
    ],
)
def test_a_cut_file_is_refused_or_whole(tmp_path, suffix, options):
    """Truncated files never give an image with a grey remainder, wherever they are cut."""
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth_image()).save(path, **options)
    data, whole = path.read_bytes(), read_image(path)
    refused = 0
    for length in np.linspace(1, len(data) - 1, 40).astype(int):
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(path), whole)
        except UnisalError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    assert refused >= 38


def test_too_many_pixels_are_refused_from_the_header(tmp_path):
    header = b"P6 %d %d 255\n"
    (tmp_path / "a.ppm").write_bytes(header % (100_000, 100_000))
    assert "megapixels" in refusal(tmp_path / "a.ppm")
    # Above Pillow's warning, below its error: our own bound decides, and the missing pixels speak.
    (tmp_path / "b.ppm").write_bytes(header % (10_000, 12_000))
    with pytest.raises(UnisalError, match=r"b.ppm: 10000x12000 is larger than 100 megapixels"):
        read_image(tmp_path / "b.ppm", max_pixels=100_000_000)
    assert "cut off" in refusal(tmp_path / "b.ppm")


def test_list_images_natural_visible_any_case(tmp_path):
    for name in ("f10.png", "f2.PNG", "f1.Jpg", ".f0.png", "notes.txt", "f3.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["f1.Jpg", "f2.PNG", "f10.png"]
    with pytest.raises(UnisalError, match="cannot be read"):
        list_images(tmp_path / "none")


def test_resize_is_pillows_antialiased_lanczos():
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    small = resize_frame(image, (32, 64))
    assert small.shape == (32, 64, 3) and small.dtype == np.uint8
    np.testing.assert_array_equal(small, np.array(Image.fromarray(image).resize((64, 32), Image.LANCZOS)))
    # Antialiased: noise averages out.
    assert small.std() < 0.6 * image.std()
    np.testing.assert_array_equal(resize_frame(image, (90, 120)), image)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_map_png_is_scaled_to_the_peak_and_rounded_down(tmp_path, dtype):
    density = np.random.default_rng(0).random((13, 17)).astype(dtype)
    density /= density.sum()
    write_map_png(tmp_path / "map.png", density)
    stored = Image.open(tmp_path / "map.png")
    assert stored.mode == "L"
    np.testing.assert_array_equal(np.array(stored), (density / density.max() * 255).astype(np.uint8))
    assert np.array(stored).max() == 255
    stored.close()


def test_map_png_of_zeros(tmp_path):
    write_map_png(tmp_path / "map.png", np.zeros((3, 4), np.float32))
    assert not read_image(tmp_path / "map.png").any()


def test_npy(tmp_path):
    array = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
    write_npy(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    # numpy would add .npy to a name without it.
    write_npy(tmp_path / "b", array)
    assert (tmp_path / "b").exists() and not (tmp_path / "b.npy").exists()


def test_a_target_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "a.png", tmp_path / "none" / "a.png"):
        with pytest.raises(UnisalError, match="cannot be written") as caught:
            write_png(target, np.zeros((2, 2), np.uint8))
        assert str(caught.value).startswith(f"{target}: ")
    (tmp_path / "a.npy").mkdir()
    (tmp_path / "a.npy" / "inside").touch()
    with pytest.raises(UnisalError, match="cannot be written"):
        write_npy(tmp_path / "a.npy", np.zeros(3))
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "file"]


def test_a_full_disk_leaves_the_older_file(tmp_path):
    write_npy(tmp_path / "a.npy", np.arange(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UnisalError, match=r"a\.npy: cannot be written"):
            write_npy(tmp_path / "a.npy", np.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(3))
    assert os.listdir(tmp_path) == ["a.npy"]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), images.atomic_path(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half")
        assert Path(temporary).parent == tmp_path
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
