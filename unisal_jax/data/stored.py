"""Reads the files and records of a prepared dataset.

tensorflow-datasets could read the folder too, but not safely: it would import any Python class that
`features.json` names, and open any file that `dataset_info.json` points to. This module accepts only the
features below, and only files in the folder with the names that `unisal prepare` gives them.
"""

import bisect
import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from unisal_jax.data.chunks import check_chunks
from unisal_jax.documents import read_json
from unisal_jax.errors import UnisalError, one_line
from unisal_jax.packages import check_array_record

FEATURES = tfds.features.FeaturesDict(
    {
        "frame": tfds.features.Image(shape=(None, None, 3), doc="RGB"),
        "map": tfds.features.Image(shape=(None, None, 1), doc="saliency map; 1x1 without ground truth"),
        "fixations": tfds.features.Tensor(shape=(None, 2), dtype=np.int32, doc="(row, column), 0-based"),
        "observers": tfds.features.Tensor(shape=(None,), dtype=np.int32, doc="-1 where unknown"),
        "fixation_size": tfds.features.Tensor(shape=(2,), dtype=np.int32, doc="(height, width)"),
        "has_truth": tfds.features.Scalar(dtype=np.bool_),
        "video": tfds.features.Text(),
        "index": tfds.features.Scalar(dtype=np.int32, doc="the frame's number in its video, from 0"),
    }
)
"""The features of a record. There is one record per frame."""

_INFO, _FEATURES = "dataset_info.json", "features.json"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

# Minimum size of a record: the header of its chunk.
_LEAST_RECORD_BYTES = 40

# Images are decoded by `media.images`. tensorflow-datasets would use any installed decoder, and accept a
# truncated PNG.
_ENCODED = {"frame": tfds.decode.SkipDecoding(), "map": tfds.decode.SkipDecoding()}


@dataclasses.dataclass(frozen=True)
class _Shard:
    """A file of records, with the interface that `ArrayRecordDataSource` expects."""

    filename: str
    examples_in_shard: int
    skip: int = 0

    @property
    def take(self) -> int:
        return self.examples_in_shard


@dataclasses.dataclass(frozen=True)
class Stored:
    """The files of a prepared dataset.

    Attributes:
      name: name of the dataset, such as `dhf1k`.
      path: its folder.
      lengths: split -> declared number of records of each file.
    """

    name: str
    path: Path
    lengths: Mapping[str, tuple[int, ...]]

    def records(self, split: str) -> "Records":
        """Random access to a split's records.

        Raises:
          UnisalError: there is no such split, a file is missing or too small for its number of records, or
            array_record is not installed.
        """
        check_array_record(f"{self.path}: reading a prepared dataset")
        if split not in self.lengths:
            raise UnisalError(f"{self.path}: no split {split!r}, only {', '.join(self.lengths)}")
        shards = [_Shard(str(path), count) for path, count in self._files(split)]
        try:
            for shard in shards:
                size = Path(shard.filename).stat().st_size
                if size < shard.examples_in_shard * _LEAST_RECORD_BYTES:
                    raise ValueError(f"{Path(shard.filename).name} is too small for its records")
            return Records(shards)
        except Exception as error:
            reason = one_line(error)
            raise UnisalError(f"{self.path}: split {split!r} cannot be read ({reason})") from error

    def _files(self, split: str) -> Iterator[tuple[Path, int]]:
        lengths = self.lengths[split]
        for number, length in enumerate(lengths):
            name = f"{self.name}-{split}.array_record-{number:05d}-of-{len(lengths):05d}"
            yield self.path / name, length


class Records(Sequence[dict[str, Any]]):
    """Parsed records by their numbers, with `frame` and `map` still encoded. Can be pickled."""

    def __init__(self, shards: Sequence[_Shard]):
        # Here, as Windows does not have it.
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self._shards = shards
        self._ends = list(itertools.accumulate(shard.take for shard in shards))
        self._source = ArrayRecordDataSource(shards) if shards else ()
        self._checked: set[int] = set()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, number: Any) -> Any:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Reads several records, in this order."""
        numbers = list(numbers)
        for place in {bisect.bisect_right(self._ends, number) for number in numbers} - self._checked:
            if place < len(self._shards):
                check_chunks(Path(self._shards[place].filename))
            self._checked.add(place)
        return [_parse(record) for record in self._source.__getitems__(numbers)]  # type: ignore[union-attr]


def _parse(record: bytes) -> dict[str, Any]:
    return FEATURES.deserialize_example_np(record, decoders=_ENCODED)


def open_stored(path: Path) -> Stored:
    """Reads the metadata of a prepared dataset, without opening its records.

    Raises:
      UnisalError: the folder contains no prepared dataset, or one that `unisal prepare` does not write.
    """
    try:
        _check_features(read_json(path / _FEATURES, "JSON"))
        info = read_json(path / _INFO, "JSON")
        if info.get("fileFormat") != "array_record":
            raise ValueError(f"{_INFO}: file format {info.get('fileFormat')!r}, not 'array_record'")
        name = _checked_name(info["name"])
        return Stored(name, path, {_checked_name(s["name"]): _lengths(s) for s in info.get("splits", [])})
    except (UnisalError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UnisalError(f"{path}: not a prepared dataset ({reason})") from error


def _lengths(split: Mapping[str, Any]) -> tuple[int, ...]:
    template = split.get("filepathTemplate", _TEMPLATE)
    if template != _TEMPLATE:
        raise ValueError(f"{_INFO}: files named {str(template)[:100]!r}, not {_TEMPLATE!r}")
    lengths = tuple(int(length) for length in split.get("shardLengths", []))
    if min(lengths, default=1) < 1:
        raise ValueError(f"{_INFO}: a file with {min(lengths)} records")
    return lengths


def _checked_name(name: Any) -> str:
    """Checks a name that becomes part of a file name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{_INFO}: the name {str(name)[:100]!r}")
    return name


def _check_features(content: Any) -> None:
    """Compares the features with those that `unisal prepare` writes, without importing their classes."""
    found = {name: _signature(feature) for name, feature in content["featuresDict"]["features"].items()}
    if content.get("pythonClassName") != _class_name(FEATURES):
        raise ValueError(f"{_FEATURES}: not a dict of features")
    for name in sorted(found.keys() | _SIGNATURES.keys()):
        if found.get(name) != _SIGNATURES.get(name):
            raise ValueError(f"{_FEATURES}: {name[:100]!r} is not a feature that `unisal prepare` writes")


def _signature(feature: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """(class, dtype, dimensions) of a feature in the file; other entries are ignored."""
    array = feature.get("tensor", feature.get("image", {}))
    return feature.get("pythonClassName"), array.get("dtype"), array.get("shape", {}).get("dimensions", [])


def _class_name(feature: Any) -> str:
    return f"{type(feature).__module__}.{type(feature).__qualname__}"


def _written(feature: Any) -> tuple[str, str | None, list[str]]:
    """The `_signature` of a feature as written by the library: dimensions are strings, text has no dtype."""
    dtype = None if isinstance(feature, tfds.features.Text) else np.dtype(feature.np_dtype).name
    return _class_name(feature), dtype, [str(-1 if side is None else side) for side in feature.shape]


_SIGNATURES = {name: _written(feature) for name, feature in FEATURES.items()}
