"""Images and video in and out, as uint8 RGB arrays; knows no network."""

from unisal_jax.media.images import (
    IMAGE_SUFFIXES,
    list_images,
    open_image,
    read_image,
    resize_frame,
    write_map_png,
    write_npy,
    write_png,
)
from unisal_jax.media.overlay import density_panel, heat_colours, overlay
from unisal_jax.media.sources import Source, expand_inputs
from unisal_jax.media.video import VIDEO_SUFFIXES, VideoReader, VideoWriter, open_video

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Source",
    "VideoReader",
    "VideoWriter",
    "density_panel",
    "expand_inputs",
    "heat_colours",
    "list_images",
    "open_image",
    "open_video",
    "overlay",
    "read_image",
    "resize_frame",
    "write_map_png",
    "write_npy",
    "write_png",
]
