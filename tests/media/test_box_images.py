"""AVIF, and HEIC if pillow-heif is installed: pixels, rotation, limits, and messages without it."""

import importlib.util
import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from unisal_jax.errors import UnisalError
from unisal_jax.media import box_images, boxes
from unisal_jax.media.images import decoding_bytes, open_image, read_image, read_profile
from unisal_jax.media.maps import read_map_image, read_marks
from unisal_jax.packages import install_command

HEIF = importlib.util.find_spec("pillow_heif") is not None
AVIF = features.check("avif")
FORMS = [
    pytest.param("avif", marks=pytest.mark.skipif(not AVIF, reason="a Pillow without AVIF")),
    pytest.param("heic", marks=pytest.mark.skipif(not HEIF, reason="pillow-heif is not installed")),
]
each_form = pytest.mark.parametrize("form", FORMS)

# Four plain quarters, each of another grey, and wider than high: every turn shows.
IMAGE = np.full((64, 128, 3), 20, np.uint8)
IMAGE[:32, 64:], IMAGE[32:, :64], IMAGE[32:, 64:] = 90, 160, 230


def encoded(form, pixels=IMAGE, **options):
    if form == "heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "HEIF" if form == "heic" else "AVIF", quality=95, **options)
    return file.getvalue()


def written(tmp_path, form, data):
    path = tmp_path / f"a.{form}"
    path.write_bytes(data)
    return path


def close(read, expected):
    assert read.shape == expected.shape and read.dtype == np.uint8
    # Away from the edges, which lossy coding blurs.
    np.testing.assert_allclose(read[8::16, 8::16].astype(int), expected[8::16, 8::16], atol=6)


def refusal(path, read=read_image):
    with pytest.raises(UnisalError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def upright(pixels, orientation):
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[:, ::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[::-1],
    }[orientation]


def exif(orientation):
    return b"Exif\0\0MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)


@each_form
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
def test_an_image_is_turned_once(tmp_path, form, orientation):
    """Both writers convert the EXIF orientation to rotation boxes, and may keep EXIF as well."""
    path = written(tmp_path, form, encoded(form, exif=exif(orientation)))
    expected = upright(IMAGE, orientation)
    with open_image(path) as image:
        assert image.size == (expected.shape[1], expected.shape[0])
    close(read_image(path), expected)


@each_form
def test_exif_and_xmp_do_not_turn_an_image(tmp_path, form):
    """By the standard, only the boxes define the rotation."""
    data = encoded(form, exif=exif(6), xmp=b'<a tiff:Orientation="6"/>')
    assert b"irot\3" in data
    path = written(tmp_path, form, data.replace(b"irot\3", b"irot\0"))
    close(read_image(path), IMAGE)


@each_form
def test_odd_sizes_alpha_and_grey(tmp_path, form):
    odd = IMAGE[:63, :101]
    path = written(tmp_path, form, encoded(form, odd))
    assert read_image(path).shape == odd.shape
    clear = np.dstack([IMAGE, np.zeros((64, 128), np.uint8)])
    close(read_image(written(tmp_path, form, encoded(form, clear))), IMAGE)
    path = written(tmp_path, form, encoded(form, IMAGE[..., 0]))
    close(read_image(path), IMAGE)
    close(read_map_image(path)[..., None], IMAGE[..., :1])
    samples, lossy = read_marks(path)
    assert samples.shape == (64, 128) and lossy


@pytest.mark.skipif(not HEIF, reason="pillow-heif is not installed")
def test_deep_grey_and_tiles(tmp_path):
    """16-bit grey, the only 16-bit mode of Pillow; and large images in tiles, as phones store them."""
    encoded("heic")
    Image.fromarray(IMAGE[..., 0].astype(np.uint16) * 257).save(tmp_path / "a.heic", quality=95)
    close(read_image(tmp_path / "a.heic"), IMAGE)
    large = IMAGE.repeat(4, 0).repeat(4, 1)
    path = written(tmp_path, "heic", encoded("heic", large, tile_size=128, exif=exif(6)))
    assert b"grid" in path.read_bytes()
    close(read_image(path), upright(large, 6))


@each_form
def test_the_profile_is_kept(tmp_path, form):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = written(tmp_path, form, encoded(form, icc_profile=srgb))
    assert read_profile(path) == srgb
    assert read_profile(written(tmp_path, form, encoded(form))) == b""


@each_form
def test_sizes_are_told_from_the_header(tmp_path, form):
    data = bytearray(encoded(form))
    path = written(tmp_path, form, data)
    assert decoding_bytes(path) == 13 * 64 * 128 + 2 * len(data)
    assert "larger than 0.001 megapixels" in refusal(path, lambda path: read_image(path, 1000))
    at = data.index(b"ispe") + 8
    for claim, message in [
        ((60000, 60000), "larger than 178 megapixels"),
        ((12000, 12000), "takes 1.9 GB"),
        ((0, 64), "without pixels"),
    ]:
        data[at : at + 8] = struct.pack(">II", *claim)
        path.write_bytes(data)
        assert message in refusal(path)


@each_form
def test_damage_and_cut_off(tmp_path, form):
    data = encoded(form)
    for part in (data[:40], data[: len(data) // 2], data[:-20], data.replace(b"pitm", b"free")):
        refusal(written(tmp_path, form, part))


@each_form
def test_decoding_has_limits(tmp_path, monkeypatch, form):
    path = written(tmp_path, form, encoded(form))
    monkeypatch.setattr(box_images, "MAX_BOX_SECONDS", 0.001)
    assert "takes more than 15 seconds, or too much memory; the image is damaged or" in refusal(path)
    monkeypatch.setattr(box_images, "MAX_BOX_SECONDS", 60)
    if sys.platform == "linux":
        monkeypatch.setattr(box_images, "_SLACK_BYTES", (20 << 20) - box_images.MAX_HELD_BYTES)
        assert "damaged" in refusal(path)
    monkeypatch.setattr(box_images, "MAX_BOX_FILE_BYTES", 100)
    assert "file is larger than 0 MiB" in refusal(path)


@each_form
def test_endless_tables(tmp_path, monkeypatch, form):
    data = encoded(form)
    monkeypatch.setattr(boxes, "MAX_BOX_TABLE_BYTES", 100)
    assert "holds no still image" in refusal(written(tmp_path, form, data))
    monkeypatch.undo()
    # An association of four thousand million items.
    at = data.index(b"ipma") + 8
    refusal(written(tmp_path, form, data[:at] + b"\xff\xff\xff\xff\0\x09" + data[at + 6 :]))


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(100))
    (tmp_path / "b.HEIC").touch()
    program = (
        "import sys\n"
        "sys.modules['pillow_heif'] = None\n"
        "from unisal_jax.errors import UnisalError\n"
        "from unisal_jax.media import expand_inputs, read_image\n"
        "from unisal_jax.media.sources import find_inputs\n"
        "for ask in (read_image, lambda path: expand_inputs([path])):\n"
        "    for path in sys.argv[1:]:\n"
        "        try:\n"
        "            print(ask(path))\n"
        "        except UnisalError as error:\n"
        "            print(error)\n"
        "print(*find_inputs([sys.argv[3]]).notes)\n"
    )
    folder, other = tmp_path / "only", tmp_path
    folder.mkdir()
    (folder / "c.heic").touch()
    done = subprocess.run(
        [sys.executable, "-c", program, other / "a.jpg", other / "b.HEIC", other, folder],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    cure = f"require pillow-heif; install it with: {install_command('heif')}"
    assert 'pip install "pillow-heif>=' in cure
    said = done.stdout.splitlines()
    assert said[0] == f"{other / 'a.jpg'}: HEIC images {cure}"
    assert said[5] == f"{other / 'b.HEIC'}: HEIC images {cure}"
    assert said[7] == f"{folder}: holds HEIC images, which {cure}"
    assert "1 other file (.heic)" in said[8] and said[8].endswith(f"HEIC images {cure}")
