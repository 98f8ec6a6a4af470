"""Frames a second of a whole 1080p file, and which stage limits.

    python -m benchmarks.pipeline [--frames 90] [--size 1080x1920] [--json benchmarks/results/pipeline.json]

First each stage alone on the same frames (milliseconds a frame, in one thread where the stage has one):
reading, resizing, the network, its maps brought to full size, drawing the overlay, encoding. Then the
whole of `unisal predict FILE --save overlay`, in which reading, the network and the finishing of its maps
have threads beside the one that draws and encodes. The slowest of the four alone would set the pace on a
machine with a core for each; `bound_fps` is that.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import unisal_jax
from unisal_jax.benchmark import measure
from unisal_jax.files import atomic_path
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.images import resize_frame
from unisal_jax.media.overlay import overlay
from unisal_jax.media.sources import Source
from unisal_jax.media.video import open_video
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.predict.batch import Options, predict_sources
from unisal_jax.predict.outputs import PredictionFiles, make_folders

FPS = 30


def moving_noise(count: int, size: tuple[int, int]):
    """Frames of a texture that drifts: neither still nor beyond what a codec can predict."""
    texture = np.random.default_rng(0).integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    texture = np.ascontiguousarray(texture.repeat(8, 0).repeat(8, 1))
    for number in range(count):
        yield np.roll(texture, (2 * number, 5 * number), (0, 1))


def stage_ms(work: Callable[[], Any], frames: int) -> float:
    """Milliseconds a frame of work on that many frames, after a run that does not count."""
    work()
    start = time.perf_counter()
    work()
    return round(1e3 * (time.perf_counter() - start) / frames, 2)


def stages(model: unisal_jax.SaliencyModel, clip: Path, folder: Path) -> dict[str, float]:
    """Milliseconds a frame of each stage alone."""
    with open_video(clip) as reader:
        frames = [frame for frame, _ in zip(reader, range(20), strict=False)]
        size, fps = reader.size, reader.fps
    count = len(frames)
    domain = model.domain(None, video=True)
    input_size = domain.video_input_size(size)
    small = np.stack([resize_frame(frame, input_size) for frame in frames])

    def read() -> None:
        with open_video(clip) as reader:
            for _ in zip(reader, range(count), strict=False):
                pass

    def network() -> list[np.ndarray]:
        state, maps = model.engine.zero_state(domain, domain.stride, input_size), []
        for start in range(0, count, domain.stride):
            out, state = model.engine.frames(small[start : start + domain.stride], domain, state)
            maps.extend(np.asarray(out))
        return maps

    log_densities = network()
    densities = [np.exp(resize_log_density(each, size)) for each in log_densities]

    def draw() -> list[np.ndarray]:
        return [overlay(frame, each, 0.7) for frame, each in zip(frames, densities, strict=True)]

    drawn = draw()

    def encode() -> None:
        with VideoWriter(folder / "stage.mp4", size, fps or FPS) as writer:
            for frame in drawn:
                writer.write(frame)

    return {
        "read": stage_ms(read, count),
        "resize": stage_ms(lambda: [resize_frame(frame, input_size) for frame in frames], count),
        "network": stage_ms(network, count),
        "finish": stage_ms(lambda: [np.exp(resize_log_density(each, size)) for each in log_densities], count),
        "overlay": stage_ms(
            lambda: [overlay(f, d, 0.7) for f, d in zip(frames, densities, strict=True)], count
        ),
        "encode": stage_ms(encode, count),
    }


def main() -> None:
    """Prints the stages, the whole, and the pace of the slowest thread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--size", default="1080x1920", metavar="HxW")
    parser.add_argument("--weights", default="unisal")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    args = parser.parse_args()
    height, width = map(int, args.size.split("x"))
    model = unisal_jax.load(args.weights)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        with VideoWriter(clip, (height, width), FPS) as writer:
            for frame in moving_noise(args.frames, (height, width)):
                writer.write(frame)
        alone = stages(model, clip, folder)
        make_folders(folder / "out", ("overlay",))
        files = PredictionFiles(folder / "out", ("overlay",))
        summary = predict_sources(model, [Source("video", clip, "clip")], files, Options())
    threads = {
        "read and resize": alone["read"] + alone["resize"],
        "network": alone["network"],
        "finish": alone["finish"],
        "overlay and encode": alone["overlay"] + alone["encode"],
    }
    slowest = max(threads, key=threads.__getitem__)
    result = {
        "alone_ms": alone,
        "bound_fps": round(1e3 / threads[slowest], 1),
        "engine": model.engine.name,
        "fps": round(summary.frames / summary.seconds, 2),
        "frames": summary.frames,
        "machine": measure.machine(),
        "one_after_the_other_fps": round(1e3 / sum(alone.values()), 2),
        "peak_mb": measure.peak_megabytes(),
        "size": [height, width],
        "slowest": slowest,
    }
    for stage, ms in alone.items():
        print(f"{stage:8s} {ms:8.2f} ms a frame, alone")
    print(
        f"whole: {result['fps']} frames a second; stages one after the other "
        f"{result['one_after_the_other_fps']}, the slowest thread ({slowest}) alone {result['bound_fps']}; "
        f"peak {result['peak_mb']:.0f} MB"
    )
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
