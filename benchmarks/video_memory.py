"""Peak memory of `unisal predict` on a clip, and on one ten times as long.

    python benchmarks/video_memory.py [--frames 100] [--json FILE]

Each runs in a separate process, with all outputs; the kernel reports the peak resident size.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from unisal_jax.files import atomic_path
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.samples import CLIP_FPS, CLIP_SIZE, moving_clip


def peak_megabytes(clip: Path, out: Path, weights: str) -> float:
    """Runs `unisal predict` on the clip and returns its peak resident size in MB (on Linux)."""
    command = [
        sys.executable,
        "-m",
        "unisal_jax",
        "predict",
        str(clip),
        "--out",
        str(out),
        "--weights",
        weights,
    ]
    process = subprocess.Popen([*command, "--save", "map,overlay,raw,json"])
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(command)}: failed")
    return usage.ru_maxrss / 1024


def main() -> None:
    """Prints both peaks and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100, help="length of the shorter clip (default: 100)")
    parser.add_argument("--weights", default="unisal")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    args = parser.parse_args()
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for frames in (args.frames, 10 * args.frames):
            clip = Path(folder) / f"{frames}.mp4"
            with VideoWriter(clip, CLIP_SIZE, CLIP_FPS) as writer:
                for frame in moving_clip(frames):
                    writer.write(frame)
            # Run once first, so that both find compiled programs in the cache.
            if not peaks:
                peak_megabytes(clip, Path(folder) / "out", args.weights)
            peaks[frames] = peak_megabytes(clip, Path(folder) / "out", args.weights)
            print(f"{frames:6d} frames: {peaks[frames]:7.1f} MB")
    short, long = peaks.values()
    print(f"ratio {long / short:.3f}")
    if args.json:
        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "peak_mb": {str(frames): round(peak, 1) for frames, peak in peaks.items()},
            "ratio": round(long / short, 4),
        }
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
