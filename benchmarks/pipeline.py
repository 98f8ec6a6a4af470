"""Throughput of `unisal predict` on a film, from file to overlay with sound, and the cost of each stage.

    python -m benchmarks.pipeline [--size 1080x1920] [--frames 150] [--json benchmarks/results/pipeline.json]

The film is the sample photograph, panned and zoomed, with grain, as H.264 at 30 fps, with a sound track.
First, each frame passes through all stages in one thread (wall-clock and CPU time in ms per frame; decoders
and encoders have their own threads, whose time counts to the stage that waits for them). Then `unisal predict
FILE --save overlay` runs in separate processes, on this film and on one ten times as long: frames/s as the
command reports them, without startup, and peak memory.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

import unisal_jax
from unisal_jax.benchmark import measure
from unisal_jax.domains import Size
from unisal_jax.files import atomic_path
from unisal_jax.media.cuts import CutDetector
from unisal_jax.media.decoded import planes_of
from unisal_jax.media.overlay import PlanesHeat, density_levels
from unisal_jax.media.video import open_video
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.samples import moving_clip

FPS, SAMPLE_RATE = 30, 48_000
# Frames of the moving photograph, which then restarts with a cut.
CLIP_FRAMES = 60
LONGER = 10


def write_film(path: Path, size: Size, frames: int) -> None:
    """Writes the film of the benchmark, which is reproducible."""
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 3, (size[0] + 64, size[1] + 64)).astype(np.int16)[..., None]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "medium"})
        video.height, video.width = size
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE)
        for number in range(frames):
            if number % CLIP_FRAMES == 0:
                clip = moving_clip(CLIP_FRAMES)
            image = cv2.resize(next(clip), size[::-1], interpolation=cv2.INTER_CUBIC)
            top, left = rng.integers(0, 64, 2)
            noisy = image + grain[top : top + size[0], left : left + size[1]]
            frame = av.VideoFrame.from_ndarray(noisy.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        wave = np.sin(np.arange(SAMPLE_RATE * frames // FPS) / 20).astype(np.float32)[None]
        samples = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        samples.sample_rate = SAMPLE_RATE
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))


class Costs:
    """Accumulates the cost of stages, in seconds."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Adds the cost of the block to a stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[stage] += time.perf_counter() - wall
        self.cpu[stage] += time.process_time() - cpu

    def to_json(self, frames: int) -> dict[str, dict[str, float]]:
        """Milliseconds per frame."""
        return {
            stage: {
                "cpu_ms": round(1e3 * self.cpu[stage] / frames, 2),
                "ms": round(1e3 * wall / frames, 2),
            }
            for stage, wall in self.wall.items()
        }


def stages(model: unisal_jax.SaliencyModel, film: Path, target: Path) -> dict[str, dict[str, float]]:
    """The cost of each stage per frame, without threads between stages."""
    costs, count = Costs(), 0
    domain, detector = model.domain(None, video=True), CutDetector()
    with open_video(film) as reader, VideoWriter(target, reader.size, FPS, reader.info) as writer:
        size, stride = domain.video_input_size(reader.size), domain.video_stride(reader.fps)
        heat = PlanesHeat(reader.info.look.colours, reader.size[0], 0.7)
        state = model.engine.zero_state(domain, stride, size)
        frames = reader.frames()
        while True:
            group, small = [], np.zeros((stride, *size, 3), np.uint8)
            for number in range(stride):
                with costs.of("decode"):
                    frame = next(frames, None)
                if frame is None:
                    return costs.to_json(count)
                with costs.of("resize"):
                    small[number] = frame.resized(size)
                with costs.of("find cuts"):
                    detector.add(small[number])
                group.append(frame)
            with costs.of("network"):
                maps, state = model.engine.frames(small, domain, state)
                maps = np.asarray(maps)
            for frame, log_density in zip(group, maps, strict=True):
                with costs.of("draw"):
                    laid = heat.lay(planes_of(frame), density_levels(np.exp(log_density)))
                with costs.of("encode"):
                    writer.write_planes(laid, frame.seconds, frame.duration)
                count += 1


def whole(film: Path, out: Path, weights: str) -> tuple[float, float, float]:
    """Runs `unisal predict`; returns (frames/s, CPU milliseconds per frame, peak MB)."""
    command = [sys.executable, "-m", "unisal_jax", "predict", str(film), "--out", str(out)]
    command += ["--weights", weights, "--save", "overlay"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0.0
    while (status := Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")) and "VmHWM" in status:
        # The peak reported for a finished child includes the memory of this process at the fork.
        peak = max(peak, int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)
        time.sleep(0.1)
    _, status, usage = os.wait4(process.pid, 0)
    said = process.stdout.read()
    process.stdout.close()
    found = re.search(r"\((\d+) frames\).* in ([0-9.]+) s", said)
    if os.waitstatus_to_exitcode(status) != 0 or found is None:
        raise SystemExit(f"{' '.join(command)}: failed")
    frames, seconds = int(found[1]), float(found[2])
    return frames / seconds, 1e3 * (usage.ru_utime + usage.ru_stime) / frames, peak


def main() -> None:
    """Prints the cost of the stages, and throughput and memory of the whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--size", default="1080x1920", metavar="HxW")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the command; the median is reported")
    parser.add_argument("--longer", action="store_true", help="also measure a film ten times as long")
    parser.add_argument("--weights", default="unisal")
    parser.add_argument("--json", type=Path, help="also write the result to this file, by size")
    args = parser.parse_args()
    height, width = map(int, args.size.split("x"))
    model = unisal_jax.load(args.weights)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film, long_film = folder / "film.mp4", folder / "long.mp4"
        write_film(film, (height, width), args.frames)
        stages(model, film, folder / "stages.mp4")
        costs = stages(model, film, folder / "stages.mp4")
        runs = [whole(film, folder / "out", args.weights) for _ in range(args.repeats)]
        fps, cpu_ms, peak = (statistics.median(each) for each in zip(*runs, strict=True))
        result = {
            "cpu_ms_a_frame": round(cpu_ms, 1),
            "engine": model.engine.name,
            "fps": round(fps, 1),
            "fps_of_runs": [round(run[0], 1) for run in runs],
            "frames": args.frames,
            "machine": measure.machine(),
            "peak_mb": round(peak),
            "stages": costs,
        }
        if args.longer:
            write_film(long_film, (height, width), LONGER * args.frames)
            long_fps, _, long_peak = whole(long_film, folder / "out", args.weights)
            result |= {"longer_fps": round(long_fps, 1), "longer_peak_mb": round(long_peak)}
    for stage, cost in costs.items():
        print(f"{stage:10s} {cost['ms']:7.2f} ms per frame, {cost['cpu_ms']:7.2f} ms of CPU")
    print(f"whole: {result['fps']} frames/s, {result['cpu_ms_a_frame']} ms of CPU per frame")
    print(f"peak {result['peak_mb']} MB, ten times as long {result.get('longer_peak_mb', '(--longer)')}")
    if args.json:
        known = json.loads(args.json.read_text()) if args.json.exists() else {}
        with atomic_path(args.json) as temporary:
            text = json.dumps({**known, args.size: result}, indent=1, sort_keys=True)
            temporary.write_text(text + "\n")


if __name__ == "__main__":
    main()
