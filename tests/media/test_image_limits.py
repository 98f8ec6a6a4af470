"""Image files that need much memory or time, hold large or damaged metadata, or have other formats."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from unisal_jax import limits
from unisal_jax.domains import find_domain
from unisal_jax.errors import UnisalError
from unisal_jax.media import screening
from unisal_jax.media.images import decoding_bytes, open_image, read_image, read_profile, write_png
from unisal_jax.media.sources import MediaSource
from unisal_jax.predict.batch import PredictOptions, predict_sources

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def refusal(path):
    with pytest.raises(UnisalError) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def chunk(name, data, checksum=None):
    checksum = zlib.crc32(name + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def encoded(suffix, pixels=PIXELS, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix, **options)
    return file.getvalue()


def png_with(*chunks, after=()):
    data = encoded("PNG")
    return data[:33] + b"".join(chunks) + data[33:-12] + b"".join(after) + data[-12:]


def jpeg_with(*segments):
    data = encoded("JPEG", quality=95)
    segments = [b"\xff" + bytes([code]) + struct.pack(">H", len(d) + 2) + d for code, d in segments]
    return data[:2] + b"".join(segments) + data[2:]


LONG = b"x" * (3 << 20)
PNG_METADATA = {
    "zTXt": chunk(b"zTXt", b"a\0\0" + zlib.compress(LONG)),
    "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LONG),
    "compressed iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG)),
    "iCCP": chunk(b"iCCP", b"p\0\0" + zlib.compress(LONG)),
    "damaged iCCP": chunk(b"iCCP", b"p\0\7" + LONG[:50]),
    "text beyond Pillow's memory": chunk(b"tEXt", b"a\0" + LONG) * 25,
    "text that names Pillow's fields": chunk(b"tEXt", b"bbox\0" + b"x") + chunk(b"tEXt", b"transparency\0x"),
    "wrong checksums": chunk(b"tEXt", b"a\0b", 1) + chunk(b"gAMA", b"1234", 1) + chunk(b"tRNS", b"123456", 1),
    "short chunks": chunk(b"gAMA", b"") + chunk(b"pHYs", b"1") + chunk(b"cHRM", b"2") + chunk(b"sRGB", b""),
    "frames of an animation out of order": chunk(b"acTL", struct.pack(">II", 2, 0))
    + chunk(b"fcTL", b"x" * 26),
}


@pytest.mark.parametrize("name", PNG_METADATA)
@pytest.mark.parametrize("after", [False, True])
def test_png_metadata_does_not_keep_the_pixels_from_being_read(tmp_path, name, after):
    data = PNG_METADATA[name]
    (tmp_path / "a.png").write_bytes(png_with(after=[data]) if after else png_with(data))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PIXELS)


def test_damaged_pixels_of_a_png_are_still_refused(tmp_path):
    data = bytearray(png_with(PNG_METADATA["zTXt"]))
    data[-40] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    assert "damaged" in refusal(tmp_path / "a.png")


def test_large_jpeg_metadata_is_passed_over(tmp_path):
    (tmp_path / "plain.jpg").write_bytes(jpeg_with())
    exif = b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\3\0\0"
    many = [(0xE1, exif)] + [(0xE1, b"Exif\0\0" + bytes(65000))] * 50 + [(0xFE, b"c" * 65000)] * 50
    many += [(0xE2, b"ICC_PROFILE\0" + bytes([n, 60]) + bytes(65000)) for n in range(1, 61)]
    (tmp_path / "a.jpg").write_bytes(jpeg_with(*many))
    # Orientation 3: turned by half.
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.jpg"), read_image(tmp_path / "plain.jpg")[::-1, ::-1]
    )
    assert read_profile(tmp_path / "a.jpg") == b""


@pytest.mark.parametrize("suffix", ["tiff", "webp"])
def test_large_metadata_of_other_formats(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x010E] = "d" * 2_000_000
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(suffix, exif=exif, icc_profile=bytes(3 << 20), **options))
    np.testing.assert_array_equal(read_image(path), PIXELS)
    assert read_profile(path) == b""


@pytest.mark.parametrize("way", ["eXIf after", "raw profile", "XMP"])
def test_orientation_is_found_where_png_files_keep_it(tmp_path, way):
    exif = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    text = b"\nexif\n  32\n" + (b"Exif\0\0" + exif).hex().encode()
    data = {
        "eXIf after": png_with(after=[chunk(b"eXIf", exif)]),
        "raw profile": png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))),
        "XMP": png_with(chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="6"/>')),
    }[way]
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PIXELS.transpose(1, 0, 2)[:, ::-1])


@pytest.mark.parametrize("kind, count", [(3, 1), (3, 2), (3, 3), (4, 1), (8, 1), (9, 1)])
def test_orientation_of_any_integer_type(tmp_path, kind, count):
    """As in Pillow, the first value is used."""
    values = struct.pack("<HHH" if kind in (3, 8) else "<i", *([6, 1, 1] if kind in (3, 8) else [6]))
    size = count * (2 if kind in (3, 8) else 4)
    entry = struct.pack("<HHI", 0x112, kind, count)
    place = values[:4].ljust(4, b"\0") if size <= 4 else struct.pack("<I", 26)
    exif = b"II*\0\x08\0\0\0\1\0" + entry + place + bytes(4) + values
    (tmp_path / "a.png").write_bytes(png_with(chunk(b"eXIf", exif)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PIXELS.transpose(1, 0, 2)[:, ::-1])


@pytest.mark.parametrize("suffix", ["png", "jpeg", "tiff", "webp"])
def test_the_profile_of_rgb_is_kept(tmp_path, suffix):
    (tmp_path / "a").write_bytes(encoded(suffix, icc_profile=SRGB))
    assert read_profile(tmp_path / "a") == SRGB
    write_png(tmp_path / "b.png", PIXELS, SRGB)
    assert read_profile(tmp_path / "b.png") == SRGB
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == SRGB


def test_a_profile_that_does_not_fit_rgb_is_left_out(tmp_path):
    cmyk = SRGB[:16] + b"CMYK" + SRGB[20:]
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG", icc_profile=cmyk))
    assert read_profile(tmp_path / "a.jpg") == b""


def gif_with(*blocks):
    data = encoded("GIF")
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + b"".join(blocks) + data[start:]


def test_blocks_of_a_gif_before_its_first_frame_take_no_time(tmp_path):
    (tmp_path / "a.gif").write_bytes(encoded("GIF"))
    comment = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 40_000 + b"\0"
    (tmp_path / "b.gif").write_bytes(gif_with(b"U", comment, b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0"))
    began = time.thread_time()
    np.testing.assert_array_equal(read_image(tmp_path / "b.gif"), read_image(tmp_path / "a.gif"))
    # Pillow alone needs minutes.
    assert time.thread_time() - began < 5


def test_the_time_ends_reading_in_whatever_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr(screening, "MAX_READ_SECONDS", 0.2)
    # Pillow reads this a sample at a time, in Python.
    (tmp_path / "a.ppm").write_bytes(b"P6 2000 2000 254\n" + bytes(12_000_000))
    (tmp_path / "b.png").write_bytes(png_with(*[chunk(b"abCd", b"")] * 400_000))
    (tmp_path / "c.gif").write_bytes(gif_with(b"\x21\xf9\4\0\0\0\0\0" * 400_000))
    for name in ("a.ppm", "b.png", "c.gif"):
        began = time.thread_time()
        assert "more than 0.2 seconds" in refusal(tmp_path / name)
        assert time.thread_time() - began < 2


def test_a_header_cannot_name_the_same_bytes_many_times():
    file = screening.ScreenedFile(io.BytesIO(bytes(1 << 20)), [(0, 1 << 20)], screening.deadline())
    with pytest.raises(screening.Excess, match="same bytes repeatedly"):
        for _ in range(5):
            file.seek(0)
            file.read()


def test_tiff_strips_over_each_other_are_refused(tmp_path):
    """libtiff reads each strip completely: 100,000 strips of the same 10 MB are a terabyte."""
    data = bytearray(encoded("TIFF", compression="tiff_deflate"))
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    for number in range(struct.unpack_from(f"{order}H", data, at)[0]):
        if struct.unpack_from(f"{order}H", data, at + 2 + 12 * number)[0] == 279:
            struct.pack_into(f"{order}HII", data, at + 4 + 12 * number, 4, 1, 1 << 30)
    (tmp_path / "a.tif").write_bytes(data)
    assert "larger than the file" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize(("width", "height"), [(1, 1_000_001), (1_000_001, 1)])
def test_sides_that_the_resizing_filter_cannot_take(tmp_path, width, height):
    (tmp_path / "a.ppm").write_bytes(b"P5 %d %d 255\n" % (width, height) + bytes(width * height))
    assert "side of more than 1,000,000 pixels" in refusal(tmp_path / "a.ppm")


def test_formats_that_take_more_memory_than_their_pixels_are_refused_from_the_header(tmp_path):
    header = b"VP8L\x11\0\0\0\x2f" + struct.pack("<I", 11999 | 11999 << 14) + bytes(12)
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(header)) + b"WEBP" + header)
    message = refusal(tmp_path / "a.webp")
    assert "damaged" in message or "GB" in message
    jpeg = bytearray(encoded("JPEG", progressive=True, subsampling=0))
    at = jpeg.index(b"\xff\xc2") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 13300, 13300)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    assert "takes 1.8 GB" in refusal(tmp_path / "a.jpg")
    # The same of a baseline file whose layers have a scan each.
    jpeg[at - 4] = 0xC0
    jpeg[jpeg.index(b"\xff\xda") + 4] = 1
    (tmp_path / "a.jpg").write_bytes(jpeg)
    assert "takes 1.8 GB" in refusal(tmp_path / "a.jpg")


def test_what_decoding_takes_is_told_from_the_header(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    assert decoding_bytes(tmp_path / "a.png") == 7 * 24 * 36
    assert 7 * limits.MAX_PIXELS < limits.MAX_HELD_BYTES


@pytest.mark.parametrize("orientation", range(1, 9))
def test_strips_make_the_same_image(tmp_path, monkeypatch, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a.png").write_bytes(encoded("PNG", exif=exif))
    whole = read_image(tmp_path / "a.png")
    monkeypatch.setattr("unisal_jax.media.images.STRIP_PIXELS", 100)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), whole)


def test_formats_that_are_not_read_are_named(tmp_path):
    for name, data in {
        "JPEG 2000": b"\xff\x4f\xff\x51" + bytes(100),
        "JPEG XL": b"\xff\x0a" + bytes(100),
    }.items():
        (tmp_path / "a.jpg").write_bytes(data)
        assert refusal(tmp_path / "a.jpg").endswith(
            f"{name} images cannot be read; convert it to JPEG or PNG"
        )


class _Zeros:
    """A stub model that returns zeros for each image and records batch sizes."""

    def __init__(self):
        self.calls = []

    def domain(self, name, *, video):
        return find_domain("salicon")

    def predict_resized(self, frames, domain):
        self.calls.append(len(frames))
        return np.zeros(frames.shape[:3], np.float32)


class _Kept:
    def __init__(self):
        self.images = {}

    def image(self, source, image, log_density, about):
        assert log_density.shape == image.shape[:2] == tuple(about["size"])
        self.images[source.name] = image


@pytest.mark.parametrize(("budget", "calls"), [(1 << 30, [8, 2, 2]), (10 * 3600, [2, 1, 2, 1, 2, 2, 2])])
def test_decoding_waits_for_room(tmp_path, monkeypatch, budget, calls):
    """Images of two input sizes: with little memory, groups are predicted before they are full."""
    monkeypatch.setattr("unisal_jax.predict.batch.MAX_HELD_BYTES", budget)
    shapes = [(60, 60), (60, 60), (40, 90)] * 2 + [(60, 60)] * 6
    for number, shape in enumerate(shapes):
        write_png(tmp_path / f"{number}.png", np.full((*shape, 3), number, np.uint8))
    model, kept = _Zeros(), _Kept()
    sources = [MediaSource("image", tmp_path / f"{n}.png", str(n)) for n in range(len(shapes))]
    assert predict_sources(model, sources, kept, PredictOptions()).images == len(shapes)
    assert model.calls == calls
    for number, shape in enumerate(shapes):
        np.testing.assert_array_equal(kept.images[str(number)], np.full((*shape, 3), number, np.uint8))


def test_open_image_leaves_pixels_to_the_caller(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    with open_image(tmp_path / "a.png") as image:
        assert image.size == (36, 24)
        np.testing.assert_array_equal(np.asarray(image), PIXELS)
    with pytest.raises(UnisalError, match=r"a\.png: the image is damaged"), open_image(tmp_path / "a.png"):
        raise ValueError("what a decoder raises")
