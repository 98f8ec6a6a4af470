"""Caches ONNX graphs on disk, so that a graph is not rebuilt in every process."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path
from unisal_jax.version import __version__
from unisal_jax.weights.fetch import cache_dir

logger = logging.getLogger(__name__)

# A graph is as large as the weights, 15 MB.
_MAX_GRAPHS = 24
_DIGEST_BYTES = hashlib.sha256().digest_size


def graphs_dir() -> Path:
    """The cache folder of the graphs. It may not exist."""
    return cache_dir() / "graphs"


def kept(facts: Mapping[str, Any], build: Callable[[], bytes]) -> bytes:
    """The cached graph for these facts; builds and caches one if there is none, or if it is damaged.

    If the cache folder cannot be written, the graph is built each time.

    Args:
      facts: everything that determines the graph except this package's version, as JSON types.
      build: builds the graph.
    """
    key = json.dumps({**facts, "version": __version__}, sort_keys=True).encode()
    path = graphs_dir() / f"{hashlib.sha256(key).hexdigest()[:32]}.onnx"
    try:
        content = path.read_bytes()
        graph = content[_DIGEST_BYTES:]
        if content[:_DIGEST_BYTES] == _digest(key, graph):
            with contextlib.suppress(OSError):  # another user's cache can be read even if it is read-only
                os.utime(path)
            return graph
        logger.info("%s: damaged, or not written by this package; rebuilding it", path)
    except OSError:
        pass
    graph = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(_digest(key, graph) + graph)
        _drop_oldest(path.parent)
    except (OSError, UnisalError) as error:
        logger.info("%s: cannot be cached: %s", path, error)
    return graph


def _digest(key: bytes, graph: bytes) -> bytes:
    # Includes the key, to detect an undamaged graph under the wrong name.
    return hashlib.sha256(key + b"\0" + graph).digest()


def _drop_oldest(folder: Path) -> None:
    """Deletes the least recently used graphs."""

    def used(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except FileNotFoundError:  # another process has deleted it
            return 0.0

    for path in sorted(folder.glob("*.onnx"), key=used)[:-_MAX_GRAPHS]:
        path.unlink(missing_ok=True)
