"""Reading and writing images and video as uint8 RGB arrays. Nothing here depends on the model."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unisal_jax.media.formats import IMAGE_SUFFIXES
    from unisal_jax.media.images import (
        open_image,
        read_image,
        resize_frame,
        write_map_png,
        write_npy,
        write_png,
    )
    from unisal_jax.media.listing import VIDEO_SUFFIXES, list_images
    from unisal_jax.media.overlay import density_panel, heat_colours
    from unisal_jax.media.sources import MediaSource, expand_inputs
    from unisal_jax.media.video import VideoReader, open_video
    from unisal_jax.media.video_writer import VideoWriter

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "MediaSource",
    "VideoReader",
    "VideoWriter",
    "density_panel",
    "expand_inputs",
    "heat_colours",
    "list_images",
    "open_image",
    "open_video",
    "read_image",
    "resize_frame",
    "write_map_png",
    "write_npy",
    "write_png",
]

_MODULES = {
    "formats": ("IMAGE_SUFFIXES",),
    "images": ("open_image", "read_image", "resize_frame", "write_map_png", "write_npy", "write_png"),
    "listing": ("VIDEO_SUFFIXES", "list_images"),
    "overlay": ("density_panel", "heat_colours"),
    "sources": ("MediaSource", "expand_inputs"),
    "video": ("VideoReader", "open_video"),
    "video_writer": ("VideoWriter",),
}


def __getattr__(name: str) -> Any:
    # Import OpenCV and FFmpeg only when they are needed: finding inputs uses neither.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
