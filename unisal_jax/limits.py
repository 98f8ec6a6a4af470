"""How much a file from a stranger may claim of memory and time: every limit in one place.

A file's header can claim any size, and a small compressed file can unpack to any size. What is
claimed is compared with these before memory is taken. SECURITY.md tells them to users.
"""

MAX_PIXELS = 178_000_000
"""Pixels of an image or of a video's frame. Just below the size at which Pillow itself refuses a file."""

MAX_HELD_BYTES = 768 << 20
"""Bytes of full-size images that wait for the network at once, beside the one that is being read."""

MAX_UNPACKED_BYTES = 1 << 30
"""Bytes that a compressed table, array or MATLAB file may unpack to."""

SMALL_UNPACKED_BYTES = 4 << 20
MAX_UNPACKED_RATIO = 50
"""A compressed table beyond the first size may unpack to so many times its own: text does not shrink more."""

MAX_TABLE_LINE = 1 << 20
"""Characters of a table's line."""

MAX_TABLE_ROWS = 20_000_000
"""Rows of a table of fixations, which are held at once."""

MAX_TABLE_NAMES = 500_000
"""Different stimuli, and different observers, of a table of fixations."""

MAX_JSON_BYTES = 64 << 20
"""Bytes of a JSON file: a prepared dataset's table of videos, a list of boxes."""

MAX_CHUNK_BYTES = 64 << 20
"""Bytes that a chunk of a prepared dataset's records may unpack to, if that is more than its own size."""

MAX_READ_SECONDS = 20.0
"""Seconds that reading one image may take."""
