"""Summarises a prepared dataset: its statistics, and a contact sheet."""

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from unisal_jax.data.prepared import Frame, open_prepared, read_frames
from unisal_jax.files import keep_inputs
from unisal_jax.media.images import write_png

# Sizes of the sheet in pixels.
_CELL_WIDTH, _MARGIN, _CAPTION = 300, 8, 18
_SAMPLES = 6
_SIZES_SHOWN = 3


def describe(manifest: dict[str, Any]) -> str:
    """Sizes, frame rate, lengths and fixations per frame of a prepared dataset, one line per split."""
    fps = f"{manifest['fps']:g} fps" if manifest["fps"] else "no frame rate"
    lines = [f"{manifest['dataset']}: {manifest['resolution']} resolution, {fps}"]
    for split, videos in manifest["splits"].items():
        counts = manifest["counts"][split]
        lengths = [video["frames"] for video in videos]
        sizes = Counter(f"{video['size'][0]}x{video['size'][1]}" for video in videos).most_common()
        rest = f" and {len(sizes) - _SIZES_SHOWN} more" if len(sizes) > _SIZES_SHOWN else ""
        shown = ", ".join(size for size, _ in sizes[:_SIZES_SHOWN]) + rest
        if max(lengths) == 1:
            extent = f"{len(videos)} images"
        else:
            middle = statistics.median(lengths)
            extent = (
                f"{len(videos)} videos, {counts['frames']} frames "
                f"({min(lengths)} to {max(lengths)} each, median {middle:g})"
            )
        outside = f", {counts['outside']} outside the image left out" if counts["outside"] else ""
        without = sum(not video["fixations"] for video in videos)
        if 0 < without < len(videos):
            outside += f"; {without} of {len(videos)} without any"
        doubtful = sum(video.get("doubtful", 0) for video in videos)
        if doubtful:
            frames = "1 frame" if doubtful == 1 else f"{doubtful} frames"
            outside += f"; those of {frames} from JPEG files or files that look like blurred maps"
        lines.append(
            f"  {split}: {extent}; {shown} (height x width); "
            f"{counts['fixations'] / counts['frames']:.1f} fixations per frame{outside}"
        )
    if manifest["folds"]:
        lines.append(f"  {len(manifest['folds'])} cross-validation folds, seed {manifest['seed']}")
    return "\n".join(lines)


def write_contact_sheet(path: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Writes a PNG with some frames of a prepared dataset, their maps and fixations.

    Raises:
      UnisalError: the dataset is damaged, or the file is part of it or cannot be written.
    """
    keep_inputs([path], folder.iterdir())
    rows = [_row(frame) for frame in _samples(folder, manifest)]
    height = sum(row.height for row in rows) + _MARGIN
    sheet = Image.new("RGB", (rows[0].width, height), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    write_png(path, np.asarray(sheet))


def _samples(folder: Path, manifest: dict[str, Any]) -> list[Frame]:
    """The middle frames of evenly spaced videos of each split."""
    each = max(1, _SAMPLES // len(manifest["splits"]))
    frames = []
    for split, videos in manifest["splits"].items():
        chosen = [videos[i * len(videos) // min(each, len(videos))] for i in range(min(each, len(videos)))]
        numbers = [video["start"] + video["frames"] // 2 for video in chosen]
        frames += read_frames(open_prepared(folder, split), numbers)
    return frames


def _row(frame: Frame) -> Image.Image:
    height = round(_CELL_WIDTH * frame.pixels.shape[0] / frame.pixels.shape[1])
    size = _CELL_WIDTH, height
    row = Image.new("RGB", (3 * _CELL_WIDTH + 4 * _MARGIN, height + _CAPTION + _MARGIN), "white")
    image = Image.fromarray(frame.pixels).resize(size)
    cells = [image]
    caption = f"{frame.id}  {frame.pixels.shape[0]}x{frame.pixels.shape[1]}"
    if frame.truth is None:
        caption += "  no ground truth"
    else:
        caption += f"  {len(frame.truth.fixations)} fixations"
        marked = image.copy()
        pen = ImageDraw.Draw(marked)
        scale = np.array(size[::-1]) / frame.truth.fixation_size
        for y, x in (frame.truth.fixations + 0.5) * scale:
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill="yellow", outline="red")
        cells += [Image.fromarray(frame.truth.map).convert("RGB").resize(size), marked]
    ImageDraw.Draw(row).text((_MARGIN, _MARGIN // 2), caption, fill="black")
    for column, cell in enumerate(cells):
        row.paste(cell, (_MARGIN + column * (_CELL_WIDTH + _MARGIN), _CAPTION + _MARGIN // 2))
    return row
