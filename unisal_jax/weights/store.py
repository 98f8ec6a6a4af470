"""Weights as one value, and the three forms of file that hold it.

A `.safetensors` file is our own form: tensors named by collection and place, and the metadata to
rebuild the network. A `.pth` file has the authors' names. A checkpoint folder is orbax's.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path, cannot_write
from unisal_jax.models.unisal import Unisal, UnisalConfig
from unisal_jax.weights import fetch, hub, names, pth

PTH_SUFFIXES = (".pth", ".pt", ".tar")
_FORMAT = "unisal-jax"
_EXTRAS = "extras"
_MAX_EXTRAS = 1 << 24  # numbers


@dataclasses.dataclass(frozen=True)
class Weights:
    """A network's variables and what is known about them.

    Attributes:
      variables: by collection, nested dicts of numpy arrays.
      config: the network that they fit.
      metadata: text by name: `source`, `source_sha256` and what else the maker wrote.
      extras: tensors of an original file that the network has no use for, by their names there.
    """

    variables: dict[str, Any]
    config: UnisalConfig
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    extras: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def load_weights(source: str | Path) -> Weights:
    """Weights by the name of a release (fetched once) or from a file or checkpoint folder.

    Args:
      source: `unisal`, `unisal-mit1003`, an address on the Hugging Face Hub (`hub.download`), or a path
        whose form is told by its suffix: .safetensors, .pth (.pt, .pth.tar), or a folder, either a
        checkpoint or one of `hub.save_folder`.
    Raises:
      UnisalError: there is no such name or file, or it does not hold a network's weights.
    """
    if str(source) in fetch.RELEASED:
        return released_weights(str(source))
    path = hub.download(str(source)) if str(source).startswith(hub.SCHEME) else Path(source)
    if (path / hub.WEIGHTS_FILE).is_file():
        path = path / hub.WEIGHTS_FILE
    if path.is_dir():
        return _read_checkpoint(path)
    if not path.exists():
        raise UnisalError(f"{source}: no such file, nor a release ({', '.join(fetch.RELEASED)})")
    if path.suffix.lower() in PTH_SUFFIXES:
        return _read_pth(path)
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    raise UnisalError(f"{path}: weights are .safetensors, .pth or a checkpoint folder")


def save_weights(path: str | Path, weights: Weights) -> None:
    """Writes weights in the form that the suffix of `path` names; none names a checkpoint folder.

    The file or folder appears when it is whole.

    Raises:
      UnisalError: the path cannot be written, or is a folder that is not empty.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in ("", ".safetensors", *PTH_SUFFIXES):
        raise UnisalError(f"{path}: weights are .safetensors, .pth or a checkpoint folder (no suffix)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix in PTH_SUFFIXES:
            pth.write_pth(path, names.to_state(weights.variables, weights.config, weights.extras))
        elif suffix == ".safetensors":
            _write_safetensors(path, weights)
        else:
            _write_checkpoint(path, weights)
    except OSError as error:
        raise cannot_write(path, error) from error


def released_weights(name: str) -> Weights:
    """A released network, fetched and converted once, then read from the cache folder."""
    release = fetch.RELEASED[name]
    if not release.is_network:
        raise UnisalError(f"{name}: holds the encoder alone; it starts a training, it cannot predict")
    cached = fetch.cache_dir() / f"{name}.safetensors"
    try:
        weights = _read_safetensors(cached)
        if weights.metadata.get("source_sha256") == release.sha256:
            return weights
    except UnisalError:
        pass  # not there, or damaged: made again below
    weights = _read_pth(fetch.fetch(name))
    weights = dataclasses.replace(weights, metadata={**weights.metadata, "source": release.filename})
    save_weights(cached, weights)
    return weights


def imagenet_encoder(variables: dict[str, Any], source: str | Path = "mobilenet_v2") -> dict[str, Any]:
    """The variables with the encoder's replaced by MobileNetV2's ImageNet weights.

    Args:
      variables: of any network of ours.
      source: `mobilenet_v2` (fetched once) or a .pth file with the same tensors.
    """
    path = fetch.fetch(str(source)) if str(source) in fetch.RELEASED else Path(source)
    encoder = names.encoder_from_state(pth.read_pth(path), variables, str(path))
    return {**variables, **{c: {**variables[c], **part} for c, part in encoder.items()}}


def check_shapes(variables: Mapping[str, Any], config: UnisalConfig, file: str) -> None:
    """Raises UnisalError, naming `file` and the tensors, unless the variables fit the network."""
    want, have = (flatten_dict(tree, sep="/") for tree in (variable_shapes(config), dict(variables)))
    for what, missing in (("lacks", want.keys() - have.keys()), ("has unknown", have.keys() - want.keys())):
        if missing:
            raise UnisalError(f"{file}: {what} tensors, {sorted(missing)[0]} among {len(missing)}")
    for name, leaf in want.items():
        if leaf.shape != have[name].shape:
            raise UnisalError(
                f"{file}: tensor {name} has shape {list(have[name].shape)}, not {list(leaf.shape)}"
            )


def variable_shapes(config: UnisalConfig) -> dict[str, Any]:
    """Shape of every variable of a network, by collection, all float32; nothing is computed."""
    float32 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)  # also where JAX makes 64 bits
    return jax.tree.map(lambda traced: float32(traced.shape), _traced(config))


@functools.lru_cache(maxsize=16)
def _traced(config: UnisalConfig) -> dict[str, Any]:
    # Tracing the network takes about a second, and reading a file asks more than once.
    smallest = jnp.zeros((1, 1, 32, 32, 3))
    shapes = jax.eval_shape(
        lambda key: Unisal(config).init({"params": key}, smallest, config.domains[0]), jax.random.key(0)
    )
    return {name: tree for name, tree in shapes.items() if name != "intermediates"}


def _read_pth(path: Path) -> Weights:
    state = pth.read_pth(path)
    config = names.config_of_state(state, str(path))
    variables, extras = names.from_state(state, config, variable_shapes(config), str(path))
    metadata = {"source": path.name, "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return Weights(variables, config, metadata, extras)


def tensors_of(weights: Weights) -> dict[str, np.ndarray]:
    """Every tensor by its name in a .safetensors file, the extras under `extras/`."""
    flat = flatten_dict({**weights.variables, _EXTRAS: weights.extras}, sep="/")
    return {name: np.asarray(array) for name, array in sorted(flat.items())}


def tensors_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, types, shapes and bytes: a .safetensors file has no checksum of its own."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _write_safetensors(path: Path, weights: Weights) -> None:
    from safetensors.numpy import save_file

    tensors = tensors_of(weights)
    metadata = {
        **weights.metadata,
        "format": _FORMAT,
        "config": weights.config.to_json(),
        "domains": ",".join(domain.name for domain in weights.config.domains),
        "tensors_sha256": tensors_sha256(tensors),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != _FORMAT:
                raise UnisalError(
                    f"{path}: a .safetensors file, but not of our network (metadata format is not {_FORMAT})"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    # The last two: of types that numpy does not have.
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        raise UnisalError(f"{path}: not a readable .safetensors file ({error})") from error
    if metadata.pop("tensors_sha256", None) != tensors_sha256(tensors):
        raise UnisalError(f"{path}: damaged: its tensors do not match its checksum")
    within = [name for name in tensors if any(parent in tensors for parent in _parents(name))]
    if within:
        raise UnisalError(f"{path}: tensor {within[0]!r} lies within another tensor")
    tree = unflatten_dict(tensors, sep="/")
    extras = tree.pop(_EXTRAS, {})
    config = _take_config(metadata, path)
    check_shapes(tree, config, str(path))
    return Weights(tree, config, metadata, extras)


def _parents(name: str) -> Iterator[str]:
    """Of "a/b/c": "a/b" and "a"."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _take_config(metadata: dict[str, str], path: Path) -> UnisalConfig:
    """The config that metadata holds; takes it, and what says the same again, out of them."""
    for key in ("format", "domains"):
        metadata.pop(key, None)
    try:
        return UnisalConfig.from_json(metadata.pop("config", ""))
    except UnisalError as error:
        raise UnisalError(f"{path}: {error}") from error


def _write_checkpoint(path: Path, weights: Weights) -> None:
    import orbax.checkpoint as ocp

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UnisalError(f"{path}: is there already; name a new checkpoint folder")
    items = ocp.args.Composite(
        variables=ocp.args.PyTreeSave(weights.variables),
        # One array each, like the rest: JSON would not keep their types.
        extras=ocp.args.PyTreeSave(weights.extras or {"none": np.zeros((), np.int8)}),
        weights=ocp.args.JsonSave(
            {**weights.metadata, "format": _FORMAT, "config": weights.config.to_json()}
        ),
    )
    if path.exists():
        path.rmdir()
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        checkpointer.save(path.absolute(), args=items)


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Keeps orbax's logger to errors, and one kind of traceback from the screen.

    It warns of the items that a training has beside the weights. And at the first array that is
    damaged it closes its event loop, to which those still being read then report in vain.
    """
    logger, hook = logging.getLogger("absl"), sys.unraisablehook
    level = logger.level
    logger.setLevel(logging.ERROR)
    sys.unraisablehook = lambda args: None if "Event loop is closed" in str(args.exc_value) else hook(args)
    try:
        yield
    except BaseException:
        time.sleep(0.2)  # they are still reading
        raise
    finally:
        sys.unraisablehook = hook
        logger.setLevel(level)


def _read_checkpoint(path: Path) -> Weights:
    import orbax.checkpoint as ocp

    handler = ocp.CompositeCheckpointHandler(
        variables=ocp.PyTreeCheckpointHandler(),
        extras=ocp.PyTreeCheckpointHandler(),
        weights=ocp.JsonCheckpointHandler(),
    )

    def as_numpy(item: Any) -> Any:
        restore = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item.tree)
        return ocp.args.PyTreeRestore(restore_args=restore)

    with ocp.Checkpointer(handler) as checkpointer, _quiet_orbax():
        try:
            items = checkpointer.metadata(path.absolute()).item_metadata
            weights = ocp.args.Composite(weights=ocp.args.JsonRestore())
            metadata = dict(checkpointer.restore(path.absolute(), args=weights).weights)
            config = _take_config(metadata, path)
            # Before any array is read: the folder may claim any size.
            check_shapes(items.variables.tree, config, str(path))
            if sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(items.extras.tree)) > _MAX_EXTRAS:
                raise UnisalError(f"{path}: its extras are larger than any of ours")
            arrays = ocp.args.Composite(variables=as_numpy(items.variables), extras=as_numpy(items.extras))
            restored = checkpointer.restore(path.absolute(), args=arrays)
        except UnisalError:
            raise
        # Orbax has no error type of its own: a folder that is something else fails in many ways.
        except (OSError, ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnisalError(f"{path}: not a checkpoint folder of ours ({reason})") from error
    extras = {name: array for name, array in restored.extras.items() if name != "none"}
    return Weights(restored.variables, config, metadata, extras)
