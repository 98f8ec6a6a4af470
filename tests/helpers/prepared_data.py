"""Tiny prepared datasets in the format that `unisal_jax.data` reads, without `data_prep`."""

import dataclasses
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video: frames uint8 [T, H, W, 3], maps uint8 [T, H, W] or None, fixations int [n, 2] per frame."""

    id: str
    frames: np.ndarray
    maps: np.ndarray | None
    fixations: Sequence[np.ndarray]
    size: tuple[int, int]


def make_clip(name: str, frames: int, size: tuple[int, int], seed: int = 0) -> Clip:
    """Noise smooth enough for image compression, with 0 to 4 fixations per frame."""
    rng = np.random.default_rng([seed, frames, *name.encode()])
    coarse = rng.integers(0, 256, (frames, -(-size[0] // 4), -(-size[1] // 4), 4), np.uint8)
    fine = coarse.repeat(4, 1).repeat(4, 2)[:, : size[0], : size[1]]
    points = [rng.integers((0, 0), size, (rng.integers(5), 2)) for _ in range(frames)]
    return Clip(name, fine[..., :3].copy(), fine[..., 3].copy(), points, size)


def encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def write_prepared(
    folder: Path,
    name: str,
    splits: Mapping[str, Sequence[Clip]],
    resolution: str = "full",
    cross_validation_folds: Sequence[Sequence[str]] = (),
) -> Path:
    """Writes a dataset; returns its folder, as `open_prepared` takes it."""
    tfds.disable_progress_bar()
    made = _builder(name, {split: (lambda clips=clips: _records(clips)) for split, clips in splits.items()})
    builder = made(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    tables = {}
    for split, clips in splits.items():
        starts = np.cumsum([0, *(len(clip.frames) for clip in clips)])
        tables[split] = [
            {"id": clip.id, "start": int(start), "frames": len(clip.frames), "size": list(clip.size)}
            for clip, start in zip(clips, starts, strict=False)
        ]
    path = Path(builder.data_dir)
    content = {"resolution": resolution, "splits": tables, "folds": cross_validation_folds}
    (path / "videos.json").write_text(json.dumps(content))
    return path


def _records(clips: Sequence[Clip]) -> Iterator[tuple[int, dict]]:
    number = 0
    for clip in clips:
        for index, pixels in enumerate(clip.frames):
            density = np.zeros((1, 1), np.uint8) if clip.maps is None else clip.maps[index]
            points = np.asarray(clip.fixations[index], np.int32).reshape(-1, 2)
            yield (
                number,
                {
                    "frame": encode(pixels),
                    "map": encode(density),
                    "fixations": points,
                    "observers": np.full(len(points), -1, np.int32),
                    "fixation_size": np.array(density.shape, np.int32),
                    "has_truth": clip.maps is not None,
                    "video": clip.id,
                    "index": index,
                },
            )
            number += 1


def _builder(name: str, splits: dict) -> type:
    features = tfds.features.FeaturesDict(
        {
            "frame": tfds.features.Image(shape=(None, None, 3)),
            "map": tfds.features.Image(shape=(None, None, 1)),
            "fixations": tfds.features.Tensor(shape=(None, 2), dtype=np.int32),
            "observers": tfds.features.Tensor(shape=(None,), dtype=np.int32),
            "fixation_size": tfds.features.Tensor(shape=(2,), dtype=np.int32),
            "has_truth": tfds.features.Scalar(np.bool_),
            "video": tfds.features.Text(),
            "index": tfds.features.Scalar(np.int32),
        }
    )
    # Names of released datasets are reserved for their builders.
    with tfds.core.registered.skip_registration():

        class Made(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

            def _split_generators(self, dl_manager):
                return {split: records() for split, records in splits.items()}

            def _generate_examples(self):
                raise NotImplementedError  # the splits above contain their own

    Made.name = name
    return Made
