"""How much a file from a stranger may claim of memory and time: every limit in one place.

A file's header can claim any size, and a small compressed file can unpack to any size. What is
claimed is compared with these before memory is taken. SECURITY.md tells them to users.
"""

MAX_PIXELS = 178_000_000
"""Pixels of an image. Just below the size at which Pillow itself refuses a file."""

MAX_MAP_PIXELS = 36_000_000
"""Pixels of a saliency map, a fixation map or a prediction to be scored: a frame of 8K has 33 million.
Scoring holds several arrays of that size, in double precision."""

MAX_FIXATIONS = 4_000_000
"""Fixations of one frame."""

MAX_PATH_FIXATIONS = 1000
"""Fixations of a sequence that is scored. The time grows with its square."""

MAX_HELD_FIXATIONS = 32_000_000
"""Fixations of all frames together that scores against other frames hold at once."""

MAX_MAT_BYTES = 256 << 20
"""Bytes of a MATLAB file's variables, unpacked."""

MAX_SIDE = 1_000_000
"""Pixels of an image's longer side. The filter that resizes it takes 48 bytes for each."""

MAX_HELD_BYTES = 1280 << 20
"""Bytes of full-size pixels that are held at once: images that wait for the network or for their outputs, and
what decoding the next one takes. An image that needs more than this alone is refused; one of `MAX_PIXELS`
needs 7 bytes a pixel, and some formats more."""

MAX_UNPACKED_BYTES = 1 << 30
"""Bytes that a compressed table or array may unpack to."""

MAX_IMAGE_BLOCKS = 1 << 20
"""Blocks of an image file that are looked at to count an animation's frames."""

MAX_READ_SECONDS = 15.0
"""Seconds of processor time that reading one image may take. One of `MAX_PIXELS` takes 3 to 6."""

MAX_BOX_FILE_BYTES = 256 << 20
"""Bytes of an AVIF or HEIC file, which is held in memory."""

MAX_BOX_TABLE_BYTES = 4 << 20
"""Bytes of the tables of an AVIF or HEIC file, which say what lies where."""

MAX_BOX_SECONDS = 120.0
"""Seconds that the process which decodes an AVIF or HEIC image may run, on however busy a machine."""

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

MAX_CONTAINER_BLOCKS = 500_000
"""Outermost blocks of a video file that are looked at to tell whether it was cut off."""

MAX_OPEN_SECONDS = 15.0
"""Seconds that opening a video file may take."""

MAX_ANSWER_SECONDS = 15.0
"""Seconds until a video on the network has to be open."""

MAX_SILENT_SECONDS = 15.0
"""Seconds that a video on the network may send nothing."""

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

MAX_WEIGHTS_BYTES = 256 << 20
"""Bytes of a .pth or .safetensors file of weights: sixteen times those of the released ones."""

MAX_PACK_BYTES = 1 << 20
"""Bytes of a domain pack: nine times those of one of the released networks."""

MAX_PICKLE_STEPS = 2_000_000
"""Opcodes of a pickle in a .pth file, of which one byte can make a dict. The released weights have 30,000."""

MAX_PICKLE_NAME = 1000
"""Characters of a global's, a tensor's or a storage's name in a pickle. A longer one can be used again and
again at little cost to the file."""

MAX_CHECKPOINT_BYTES = 1 << 30
"""Bytes of a checkpoint folder's files, and of what they unpack to: twenty times a training's."""

MAX_CHECKPOINT_KEYS_BYTES = 64 << 20
"""Bytes that the tree of its arrays' names and places unpacks to."""

MAX_CHECKPOINT_TEXT_BYTES = 8 << 20
"""Bytes of any of its files that is read as JSON."""

MAX_CONFIG_BYTES = 1 << 20
"""Bytes of a network's config as text."""

MAX_DOMAINS = 64
"""Domains of a network. Building it takes longer with each."""

MAX_NAME_LENGTH = 64
"""Characters of a domain's name."""

MAX_STRIDE = 1000
"""Frames from one to the next of a recurrence. So many frames go through the network together."""

MAX_INPUT_PIXELS = 2048 * 2048
"""Pixels of a network's input."""

MAX_BATCH_PIXELS = 16 << 20
"""Pixels of the frames that go through the network together for a domain: input size times stride."""

MAX_INDEX_BYTES = 64 << 20
"""Bytes that the packed index of a QuickTime file may unpack to."""
