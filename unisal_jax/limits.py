"""Limits on the memory and time that an untrusted file may use, all in one place.

A file header can declare any size, and a small compressed file can unpack to any size. Readers compare
declared sizes with these limits before they allocate memory. SECURITY.md documents them.
"""

MAX_PIXELS = 178_000_000
"""Pixels of an image. Just below Pillow's own limit."""

MAX_MAP_PIXELS = 36_000_000
"""Pixels of a saliency map, a fixation map or a prediction to be scored: an 8K frame has 33 million.
Scoring holds several float64 arrays of that size."""

MAX_FIXATIONS = 4_000_000
"""Fixations of one frame."""

MAX_PATH_FIXATIONS = 1000
"""Fixations of a sequence to score. The time is quadratic in it."""

MAX_HELD_FIXATIONS = 32_000_000
"""Fixations of all frames that shuffled scores hold in memory."""

MAX_MAT_BYTES = 256 << 20
"""Bytes of a MATLAB file's variables, unpacked."""

MAX_SIDE = 1_000_000
"""Pixels of an image's longer side. The resize filter takes 48 bytes per pixel of it."""

MAX_HELD_BYTES = 1280 << 20
"""Bytes of full-size pixels held at once: images that wait for the network or for their outputs, and the
decoding of the next one. An image that alone requires more is refused; one of `MAX_PIXELS` requires 7 bytes
per pixel, and some formats more."""

MAX_UNPACKED_BYTES = 1 << 30
"""Bytes that a compressed table or array may unpack to."""

MAX_IMAGE_BLOCKS = 1 << 20
"""Blocks of an image file that are read to count the frames of an animation."""

MAX_READ_SECONDS = 15.0
"""Seconds of CPU time to read one image. An image of `MAX_PIXELS` takes 3 to 6."""

MAX_BOX_FILE_BYTES = 256 << 20
"""Bytes of an AVIF or HEIC file, which is read into memory."""

MAX_BOX_TABLE_BYTES = 4 << 20
"""Bytes of the tables of an AVIF or HEIC file, which locate its items."""

MAX_BOX_SECONDS = 120.0
"""Seconds that the process which decodes an AVIF or HEIC image may run, even on a busy machine."""

MAX_METADATA_BYTES = 1 << 20
"""Bytes of an image's EXIF, XMP or ICC profile, unpacked. Longer ones are ignored, since Pillow would refuse
a PNG that contains them."""

MAX_FRAME_PIXELS = 1 << 26
"""Pixels of a video frame: 8192x8192, twice 8K. A decoder may hold about twenty frames."""

MAX_FILM_BYTES = 1 << 30
"""Bytes of full-size frames and densities that the stages of video prediction hold at once."""

MIN_FPS, MAX_FPS = 0.01, 1000.0
"""Range of frame rates that a video file may declare; others count as unknown."""

MAX_TRACKS = 256
"""Tracks of a video file."""

MAX_CONTAINER_BLOCKS = 500_000
"""Outermost blocks of a video file that are read to detect truncation."""

MAX_OPEN_SECONDS = 15.0
"""Seconds to open a video file."""

MAX_ANSWER_SECONDS = 15.0
"""Seconds to open a network video."""

MAX_SILENT_SECONDS = 15.0
"""Seconds without data from a network video."""

SMALL_UNPACKED_BYTES = 4 << 20
MAX_UNPACKED_RATIO = 50
"""A compressed table that unpacks to more than the first size may have at most this compression ratio; text
does not exceed it."""

MAX_TABLE_LINE = 1 << 20
"""Characters of a line of a table."""

MAX_TABLE_ROWS = 20_000_000
"""Rows of a table of fixations, all held in memory."""

MAX_TABLE_NAMES = 500_000
"""Distinct stimuli, and distinct observers, in a table of fixations."""

MAX_JSON_BYTES = 64 << 20
"""Bytes of a JSON file, such as the video table of a prepared dataset, or a list of boxes."""

MAX_CHUNK_BYTES = 64 << 20
"""Bytes that a chunk of a prepared dataset's records may unpack to, or its own size if larger."""

MAX_WEIGHTS_BYTES = 256 << 20
"""Bytes of a .pth or .safetensors file of weights: 16 times the released ones."""

MAX_PACK_BYTES = 1 << 20
"""Bytes of a domain pack: nine times a pack of the released weights."""

MAX_PICKLE_STEPS = 2_000_000
"""Opcodes of a pickle in a .pth file; one byte can create a dict. The released weights have 30,000."""

MAX_PICKLE_NAME = 1000
"""Characters of the name of a global, tensor or storage in a pickle. A small file can reuse a long name many
times."""

MAX_CHECKPOINT_BYTES = 1 << 30
"""Bytes of the files of a checkpoint folder, and of their unpacked content: 20 times a usual checkpoint."""

MAX_CHECKPOINT_KEYS_BYTES = 64 << 20
"""Bytes that the index of array names and locations in a checkpoint unpacks to."""

MAX_CHECKPOINT_TEXT_BYTES = 8 << 20
"""Bytes of any JSON file in a checkpoint."""

MAX_CONFIG_BYTES = 1 << 20
"""Bytes of a model config as text."""

MAX_DOMAINS = 64
"""Domains of a model. Each makes building it slower."""

MAX_NAME_LENGTH = 64
"""Characters of a domain name."""

MAX_STRIDE = 1000
"""Frame stride. This many frames pass through the network together."""

MAX_INPUT_PIXELS = 2048 * 2048
"""Pixels of the network input."""

MAX_BATCH_PIXELS = 16 << 20
"""Pixels of the frames of a domain that pass through the network together: input size times stride."""

MAX_INDEX_BYTES = 64 << 20
"""Bytes that the compressed index of a QuickTime file may unpack to."""
