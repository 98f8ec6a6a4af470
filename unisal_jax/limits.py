"""How much a file from a stranger may claim of memory and time: every limit in one place.

A file's header can claim any size, and a small compressed file can unpack to any size. What is
claimed is compared with these before memory is taken. SECURITY.md tells them to users.
"""

MAX_PIXELS = 178_000_000
"""Pixels of an image. Just below the size at which Pillow itself refuses a file."""

MAX_SIDE = 1_000_000
"""Pixels of an image's longer side. The filter that resizes it takes 48 bytes for each."""

MAX_HELD_BYTES = 1280 << 20
"""Bytes of full-size pixels that are held at once: images that wait for the network or for their outputs, and
what decoding the next one takes. An image that needs more than this alone is refused; one of `MAX_PIXELS`
needs 7 bytes a pixel, and some formats more."""

MAX_UNPACKED_BYTES = 1 << 30
"""Bytes that a compressed table, array or MATLAB file may unpack to."""

MAX_READ_SECONDS = 15.0
"""Seconds of processor time that reading one image may take. One of `MAX_PIXELS` takes 3 to 6."""

MAX_METADATA_BYTES = 1 << 20
"""Bytes of an image's EXIF, XMP or ICC profile, unpacked; longer ones are passed over, as Pillow would refuse
the PNG that holds them."""

MAX_FRAME_PIXELS = 1 << 26
"""Pixels of a video file's frame: 8192x8192, twice 8K. A decoder may hold some twenty frames."""

MAX_FILM_BYTES = 1 << 30
"""Bytes of a film's full-size frames and densities that the stages of a prediction hold at once."""

MIN_FPS, MAX_FPS = 0.01, 1000.0
"""Frames a second that a video file may declare; others are taken for unknown."""

MAX_TRACKS = 256
"""Tracks of a video file."""

MAX_BLOCKS = 500_000
"""Outermost blocks of a video file that are looked at to tell whether it was cut off."""

MAX_OPEN_SECONDS = 15.0
"""Seconds that opening a video file may take."""

MAX_INDEX_BYTES = 64 << 20
"""Bytes that the packed index of a QuickTime file may unpack to."""

MAX_IMAGE_BLOCKS = 1 << 20
"""Blocks of an image file that are looked at to count an animation's frames."""
