"""Program that decodes one AVIF or HEIC image in a separate process. It imports only Pillow.

The decoders have no time or memory limit, and a small file may take hours, so the operating system enforces
the limits. Arguments: the format, seconds of processor time, bytes of memory. The file is read from standard
input. The output is one line of JSON, {"size": [width, height]} or {"error": reason}; after a size the pixels
follow: uint8 RGB, row by row, upright.
"""

import contextlib
import io
import json
import sys

from PIL import Image, ImageOps

_THREADS = 4  # each thread uses address space
_STRIP_PIXELS = 1 << 22


def main() -> None:
    """Decodes the image on standard input."""
    form, seconds, held = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    data = sys.stdin.buffer.read()
    with contextlib.suppress(ImportError, ValueError, OSError):  # the system has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (held, held))
    try:
        image = _decoded(form, data)
        _send(json.dumps({"size": image.size}).encode())
    except Exception as error:
        # Pillow's message for an unknown format contains a memory address.
        unknown = type(error).__name__ == "UnidentifiedImageError"
        reason = "its header is damaged" if unknown else str(error) or type(error).__name__
        _send(json.dumps({"error": reason[:1000]}).encode())
        return
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        sys.stdout.buffer.write(_rgb(strip).tobytes())


def _decoded(form: str, data: bytes) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # the caller has checked the size
    if form == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = _THREADS
    else:
        import pillow_heif

        form = "HEIF"
        pillow_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=_THREADS
        )
    image = Image.open(io.BytesIO(data), formats=(form,))
    # Only the boxes define the rotation. Pillow reports an AVIF's as EXIF; pillow-heif applies a HEIC's.
    image.info.pop("xmp", None)
    image.load()
    return ImageOps.exif_transpose(image) if form == "AVIF" else image


def _rgb(strip: Image.Image) -> Image.Image:
    if strip.mode.startswith("I;16"):
        # Pillow's conversion would clip at 255, so take the upper byte of each little-endian pair.
        strip = Image.frombytes("L", strip.size, strip.tobytes()[1::2])
    elif strip.mode in ("RGBa", "La"):
        strip = strip.convert("RGBA")
    return strip.convert("RGB")


def _send(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")


if __name__ == "__main__":
    main()
