"""Throughput of the data loader in frames/s: reading, decoding, clip sampling, resizing and batching.

Synthetic DHF1K videos (360x640, photograph-like, with PNG files about as large as those of real frames) are
prepared by the code of `unisal prepare`, at full size and at the input size. Batches of 4 clips of 12 frames
are read with 1 and 2 threads, and with 1 and 2 worker processes, and compared with a plain loop over the PNG
files of the release in one thread.

    python -m benchmarks.loading [--batches 6] [--repeats 5] [--json OUT]
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from data_prep.builders import BUILDERS
from data_prep.prepare import prepare
from unisal_jax.data.clips import CLIP_FRAMES
from unisal_jax.data.examples import DomainSource
from unisal_jax.data.loader import Loader
from unisal_jax.data.prepared import open_prepared
from unisal_jax.domains import DHF1K
from unisal_jax.files import atomic_path

SIZE = (360, 640)
VIDEOS, FRAMES, BATCH = 8, 60, 4
READERS = (
    ("1 thread", 0, 1),
    ("2 threads", 0, 2),
    ("1 worker", 1, 1),
    ("2 workers", 2, 1),
)


def write_release(root: Path) -> None:
    """Videos 1 to 8 of a DHF1K release with extracted frames."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    for number in range(1, VIDEOS + 1):
        rng = np.random.default_rng(number)
        # Drifting smooth noise at several scales, and the grain of a video frame.
        layers = [
            np.asarray(
                Image.fromarray(
                    rng.integers(0, 256, (height // cell, width // cell + FRAMES, 3), np.uint8)
                ).resize((width + 2 * FRAMES, height), Image.Resampling.BICUBIC),
                np.float32,
            )
            for cell in (90, 30, 10)
        ]
        folder = root / "annotation" / f"{number:04d}"
        for kind in ("images", "maps", "fixation"):
            (folder / kind).mkdir(parents=True)
        for index in range(FRAMES):
            scene = sum(
                weight * layer[:, index : index + width]
                for weight, layer in zip((0.6, 0.3, 0.1), layers, strict=True)
            )
            grain = rng.normal(0, 0.5, (height, width, 1))
            row, column = height * 0.5 + index, width * 0.4 + index
            density = 255 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 40**2))
            points = np.clip(rng.normal((row, column), 40, (17, 2)), 0, (height - 1, width - 1)).astype(int)
            fixated = np.zeros(SIZE, np.uint8)
            fixated[points[:, 0], points[:, 1]] = 255
            frame = np.clip(scene + grain, 0, 255).astype(np.uint8)
            for kind, pixels in (
                ("images", frame),
                ("maps", density.astype(np.uint8)),
                ("fixation", fixated),
            ):
                Image.fromarray(pixels).save(folder / kind / f"{index + 1:04d}.png", compress_level=3)


def plain_batches(root: Path) -> Generator[int, None, None]:
    """The same work as a loop over the PNG files; yields the number of frames of each batch."""
    rng = np.random.default_rng(0)
    height, width = DHF1K.input_size
    while True:
        clips = []
        for number in rng.integers(1, VIDEOS + 1, BATCH):
            folder = root / "annotation" / f"{number:04d}"
            start = rng.integers(1, FRAMES - (CLIP_FRAMES - 1) * DHF1K.stride + 1)
            names = [f"{start + i * DHF1K.stride:04d}.png" for i in range(CLIP_FRAMES)]
            frames = [
                np.asarray(
                    Image.open(folder / "images" / name).resize((width, height), Image.Resampling.LANCZOS)
                )
                for name in names
            ]
            maps = [np.asarray(Image.open(folder / "maps" / name)) for name in names]
            fixations = [np.asarray(Image.open(folder / "fixation" / name)) > 127 for name in names]
            clips.append((np.stack(frames), np.stack(maps), np.stack(fixations)))
        batch = [np.stack(part) for part in zip(*clips, strict=True)]
        yield batch[0].shape[0] * batch[0].shape[1]


def loaded_batches(path: Path, workers: int, threads: int) -> Generator[int, None, None]:
    """Reads batches with the loader; yields the number of frames of each."""
    source = DomainSource(DHF1K, open_prepared(path, "train"), BATCH)
    loader = Loader([source], seed=0, epochs=10_000, workers=workers, threads=threads)
    try:
        for batch in loader:
            yield batch.arrays.frames.shape[0] * batch.arrays.frames.shape[1]
    finally:
        loader.close()


def measure(batches: Generator[int, None, None], count: int, repeats: int) -> dict[str, float]:
    """Measures throughput after a warm-up.

    Returns:
      `median`, `least` and `most` frames/s over `repeats` runs of `count` batches, and `cpu_ms`, the CPU time
      of this process per frame in ms, which is less sensitive to other programs.
    """
    # As many batches as the loader may prefetch.
    for _ in range(4):
        next(batches)
    rates, costs = [], []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        frames = sum(itertools.islice(batches, count))
        rates.append(frames / (time.perf_counter() - start))
        costs.append(1e3 * (time.process_time() - cpu) / frames)
    batches.close()
    return {
        "median": statistics.median(rates),
        "least": min(rates),
        "most": max(rates),
        "cpu_ms": statistics.median(costs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=6, help="batches per run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    machine = (
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, Pillow {PIL.__version__}"
    )
    result: dict = {"machine": machine, "frames_a_second": {}}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "release"
        write_release(root)
        images = sorted(root.glob("annotation/*/images/*.png"))
        result["png_bytes"] = statistics.median(path.stat().st_size for path in images)
        print(f"{machine}; median PNG size {result['png_bytes'] / 1e3:.0f} kB")
        runs = [("plain loop over PNG files", plain_batches(root))]
        for resolution in ("full", "input"):
            builder = BUILDERS["dhf1k"](data_dir=scratch, config=resolution, partial=True)
            path = prepare(builder, root).path
            runs += [
                (f"stored at {resolution} size, {name}", loaded_batches(path, workers, threads))
                for name, workers, threads in READERS
            ]
        for name, batches in runs:
            rates = measure(batches, args.batches, args.repeats)
            result["frames_a_second"][name] = rates
            print(
                f"{name:36} {rates['median']:6.0f} frames/s ({rates['least']:.0f} to {rates['most']:.0f}), "
                f"{rates['cpu_ms']:.1f} ms of CPU per frame in this process"
            )
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
