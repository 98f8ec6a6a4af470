"""Draws the figures of docs/scores.md, from the trainings' own logs and weights.

    python docs/training_figures.py runs/osie runs/osie_imagenet runs/billiard runs/billiard_bypass

Loss curves, and ground truth beside predictions of the test sets. The photographs are not shown: they are
not ours to publish. Requires matplotlib.
"""

import json
import sys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

import unisal_jax
from unisal_jax.evaluate.predictions import NetworkMaps
from unisal_jax.evaluate.sources import open_data
from unisal_jax.media.overlay import heat_colours

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
LABELS = ("from the released weights", "from ImageNet alone"), ("with recurrence", "recurrence bypassed")
EXAMPLES = 5


def curves(axes: plt.Axes, runs: tuple[Path, ...], labels: tuple[str, ...], title: str) -> None:
    """Training loss (thin, each logged step) and validation loss (points) over epochs."""
    for colour, run, label in zip(("tab:blue", "tab:orange"), runs, labels, strict=True):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        trained = [row for row in rows if row["kind"] == "train"]
        validated = [row for row in rows if row["kind"] == "validation"]
        per_epoch = validated[0]["step"]
        steps = [row["step"] / per_epoch for row in trained]
        axes.plot(steps, [row["loss"] for row in trained], color=colour, alpha=0.35, lw=1)
        epochs = [row["step"] / per_epoch for row in validated]
        axes.plot(epochs, [row["loss"] for row in validated], "o-", color=colour, label=label, ms=4)
    axes.set(title=title, xlabel="epoch", ylabel="KLD - 0.1 CC - 0.1 NSS")
    # Single batches far above all validations would squeeze the rest.
    axes.set_ylim(
        top=1.2 * max(np.max(line.get_ydata()) for line in axes.get_lines() if line.get_marker() == "o")
    )
    axes.grid(alpha=0.3)
    axes.legend(title="validation (thin: training)", frameon=False)


def maps(run: Path, domain: str, every: int) -> np.ndarray:
    """Truth above prediction for some of the test frames, uint8 RGB."""
    config = json.loads((run / "config.json").read_text())
    data = open_data(config["domains"][domain]["data"], "test")
    model = unisal_jax.load(run / "best")
    predicted = NetworkMaps(model, data, model.domain(domain, video=data.kind == "video"))
    columns: list[np.ndarray] = []
    for group in data.groups:
        pairs = [(group.truth(index), density) for index, density in enumerate(predicted.maps(group))]
        for truth, density in pairs[every // 2 :: every]:
            size = 200, round(200 * truth.size[0] / truth.size[1])
            both = [Image.fromarray(heat_colours(each)).resize(size) for each in (truth.map, density)]
            columns.append(
                np.concatenate([np.pad(each, ((3, 3), (3, 3), (0, 0)), constant_values=255) for each in both])
            )
    chosen = columns[:: max(1, len(columns) // EXAMPLES)][:EXAMPLES]
    return np.concatenate(chosen, axis=1)


def main() -> None:
    """Writes docs/training.png and docs/training_maps.jpg."""
    runs = tuple(map(Path, sys.argv[1:5]))
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    curves(axes[0], runs[:2], LABELS[0], "OSIE")
    curves(axes[1], runs[2:], LABELS[1], "Billiard")
    figure.savefig(HERE / "training.png", dpi=90)
    rows = [maps(runs[0], "osie", 1), maps(runs[2], "billiard", 100)]
    Image.fromarray(np.concatenate(rows)).save(HERE / "training_maps.jpg", quality=88)


if __name__ == "__main__":
    main()
