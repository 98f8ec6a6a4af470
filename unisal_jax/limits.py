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

MAX_READ_SECONDS = 20.0
"""Seconds that reading one image may take."""

MAX_WEIGHTS_BYTES = 256 << 20
"""Bytes of a .pth or .safetensors file of weights: sixteen times those of the released ones."""

MAX_CHECKPOINT_BYTES = 1 << 30
"""Bytes of a checkpoint folder's files, and of what they unpack to: twenty times a training's."""

MAX_CHECKPOINT_KEYS_BYTES = 64 << 20
"""Bytes that the tree of its arrays' names and places unpacks to."""

MAX_CHECKPOINT_TEXT_BYTES = 8 << 20
"""Bytes of any of its files that is read as JSON."""

MAX_CONFIG_BYTES = 1 << 20
"""Bytes of a network's config as text."""

MAX_DOMAINS = 64
"""Domains of a network. Its shapes are found out by tracing it, which takes longer with each."""

MAX_NAME_LENGTH = 64
"""Characters of a domain's name."""

MAX_STRIDE = 1000
"""Frames from one to the next of a recurrence. So many frames go through the network together."""

MAX_INPUT_PIXELS = 2048 * 2048
"""Pixels of a network's input."""

MAX_BATCH_PIXELS = 16 << 20
"""Pixels of the frames that go through the network together for a domain: input size times stride."""
