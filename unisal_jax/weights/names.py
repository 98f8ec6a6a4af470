"""Converts between the authors' state dicts and this package's variables, tensor for tensor.

`entries(config)` is the complete table. Kernels are transposed; nothing else changes. Tensors that the model
does not use (PyTorch's batch counters, a saved dropout mask) are kept under their own names as extras, so
that converting a file and back loses nothing.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unisal_jax.domains import RELEASED_DOMAINS, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models.architecture import BLOCKS
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.shapes import encoder_shapes, variable_shapes

NETWORK_ANCHOR = "cnn.features.0.0.weight"
ENCODER_ANCHOR = "features.0.0.weight"
"""A name in every state dict of a network, or of an encoder, after any prefix of wrappers."""

# Parts that PyTorch's wrappers add to a name: DataParallel, torch.compile, FSDP, checkpointing.
_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)

Tree = dict[str, Any]
State = Mapping[str, np.ndarray]

# Our gate -> theirs: input convolution, hidden convolution, and the suffixes of the other names.
_GATES = {
    "reset": ("w_r", "u_r", "r"),
    "update": ("w_z", "u_z", "z"),
    "candidate": ("w", "u", "h"),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor: its name in the authors' files, its path in our variables, and its layout.

    Layouts: "same"; "pointwise", [out, in, 1, 1] -> [in, out]; "spatial", [out, in, h, w] ->
    [h, w, in, out]; "transposed", [in, out, h, w] -> [h, w, in, out], rotated by 180 degrees; "flat",
    [n, 1, 1] -> [n]; "plane", [1, 1, h, w] -> [h, w].
    """

    name: str
    path: tuple[str, ...]  # collection first
    layout: str = "same"

    def to_ours(self, array: np.ndarray) -> np.ndarray:
        """Converts the tensor to our layout."""
        match self.layout:
            case "pointwise":
                array = array[:, :, 0, 0].T
            case "spatial":
                array = array.transpose(2, 3, 1, 0)
            case "transposed":
                array = array.transpose(2, 3, 0, 1)[::-1, ::-1]
            case "flat":
                array = array[:, 0, 0]
            case "plane":
                array = array[0, 0]
        return np.ascontiguousarray(array)

    def to_theirs(self, array: np.ndarray) -> np.ndarray:
        """Converts the tensor to the authors' layout."""
        match self.layout:
            case "pointwise":
                array = array.T[:, :, None, None]
            case "spatial":
                array = array.transpose(3, 2, 0, 1)
            case "transposed":
                array = array[::-1, ::-1].transpose(2, 3, 0, 1)
            case "flat":
                array = array[:, None, None]
            case "plane":
                array = array[None, None]
        return np.ascontiguousarray(array)

    def rank(self) -> int | None:
        """Number of axes in the authors' files; None if the layout does not determine it."""
        return {"pointwise": 4, "spatial": 4, "transposed": 4, "flat": 3, "plane": 4}.get(self.layout)


def _norm(name: str, path: tuple[str, ...], domains: tuple[Domain, ...] = ()) -> Iterator[Entry]:
    """A batch norm: a shared one, or one for each of `domains`."""
    sets = [(f"{name}.bn_{d.source_name}", d.name, d.stats) for d in domains] or [
        (name, "params", "batch_stats")
    ]
    for prefix, trained, stats in sets:
        yield Entry(f"{prefix}.weight", (trained, *path, "scale"))
        yield Entry(f"{prefix}.bias", (trained, *path, "bias"))
        yield Entry(f"{prefix}.running_mean", (stats, *path, "mean"))
        yield Entry(f"{prefix}.running_var", (stats, *path, "var"))


def _inverted_residual(
    name: str, path: tuple[str, ...], expansion: int, domains: tuple[Domain, ...] = ()
) -> Iterator[Entry]:
    """The three convolutions of a block, or two without an expansion, each followed by its batch norm."""
    index = 0
    for part, layout in (("expand", "pointwise"), ("spatial", "spatial"), ("project", "pointwise")):
        if part == "expand" and expansion == 1:
            continue
        yield Entry(f"{name}.{index}.weight", ("params", *path, part, "kernel"), layout)
        yield from _norm(f"{name}.{index + 1}", (*path, f"{part}_norm"), domains)
        index += 3  # convolution, norm, ReLU6


def encoder_entries(prefix: str = "cnn.") -> Iterator[Entry]:
    """MobileNetV2's tensors. In the ImageNet file, their names have no prefix."""
    name, path = f"{prefix}features", ("encoder",)
    yield Entry(f"{name}.0.0.weight", ("params", *path, "stem", "kernel"), "spatial")
    yield from _norm(f"{name}.0.1", (*path, "stem_norm"))
    for number, block in enumerate(BLOCKS, 1):
        yield from _inverted_residual(f"{name}.{number}.conv", (*path, f"block_{number}"), block.expansion)
    last = len(BLOCKS) + 1
    yield Entry(f"{name}.{last}.0.weight", ("params", *path, "head", "kernel"), "pointwise")
    yield from _norm(f"{name}.{last}.1", (*path, "head_norm"))


def _gru_entries(separable: bool, domains: tuple[Domain, ...]) -> Iterator[Entry]:
    cell = "rnn.cell_list.0"
    for gate, (w, u, letter) in _GATES.items():
        yield Entry(f"{cell}.b_{letter}", ("params", "rnn", f"{gate}_bias"), "flat")
        for source, conv, axis in (("input", w, "x"), ("hidden", u, "h")):
            path = ("rnn", f"{gate}_{source}")
            yield Entry(f"{cell}.a_{letter}_{axis}", ("params", *path, "scale"), "flat")
            norm = f"norm_{'out' if letter == 'h' else letter}_{axis}"
            yield from _norm(f"{cell}.{norm}", (*path, "norm"), domains)
            if separable:
                yield Entry(
                    f"{cell}.{conv}.conv_dw.weight", ("params", *path, "spatial", "kernel"), "spatial"
                )
                yield from _norm(f"{cell}.{conv}.sep_bn", (*path, "spatial_norm"), domains)
                yield Entry(
                    f"{cell}.{conv}.conv_sep.weight", ("params", *path, "project", "kernel"), "pointwise"
                )
            else:
                yield Entry(f"{cell}.{conv}.weight", ("params", *path, "spatial", "kernel"), "spatial")


def _skip_entries(theirs: str, ours: str, domains: tuple[Domain, ...]) -> Iterator[Entry]:
    yield Entry(f"{theirs}.expansion.0.weight", ("params", f"{ours}_expand", "kernel"), "pointwise")
    yield from _norm(f"{theirs}.expansion.1", (f"{ours}_expand_norm",), domains)
    yield Entry(f"{theirs}.reduction.0.weight", ("params", f"{ours}_reduce", "kernel"), "pointwise")
    yield Entry(f"{theirs}.reduction.0.bias", ("params", f"{ours}_reduce", "bias"))
    yield from _norm(f"{theirs}.reduction.1", (f"{ours}_reduce_norm",), domains)


def _domain_parts(theirs: str, config: UnisalConfig, adaptive: bool) -> Iterator[tuple[str, str]]:
    """(their name, collection) of a part, one for each domain or a shared one."""
    if not adaptive:
        yield theirs, "params"
    else:
        for domain in config.domains:
            yield f"{theirs}_{domain.source_name.lower()}", domain.name


def entries(config: UnisalConfig) -> list[Entry]:
    """All tensors of a model with this config."""
    domains = config.domains if config.domain_norm else ()
    table = list(encoder_entries())
    if config.prior_maps:
        for name, collection in _domain_parts("coarse_gaussians", config, config.domain_priors):
            table.append(Entry(name, (collection, "prior_maps", "gaussians")))
    table += _inverted_residual("post_cnn.inv_res.conv", ("post_cnn",), 1)
    if config.has_rnn:
        table += _gru_entries(config.separable, domains)
        table.append(Entry("post_rnn.0.weight", ("params", "post_rnn", "kernel"), "pointwise"))
        table += _norm("post_rnn.1", ("post_rnn_norm",), domains)
    if config.skips:
        table += _skip_entries("skip_2x", "skip_16", domains)
        table += _skip_entries("skip_4x", "skip_8", domains)
    if not config.bilinear:
        for name, level in (("upsampling_1.us1", "16"), ("upsampling_2.us2", "8")):
            path = ("params", f"learned_upsampling_{level}", "kernel")
            table.append(Entry(f"{name}.weight", path, "transposed"))
    table += _inverted_residual("upsampling_2.inv_res.conv", ("upsampling_16",), 2, domains)
    table += _inverted_residual("post_upsampling_2.inv_res.conv", ("upsampling_8",), 2, domains)
    for name, collection in _domain_parts("adaptation", config, config.domain_fusion):
        table.append(Entry(f"{name}.0.weight", (collection, "fusion", "kernel"), "pointwise"))
        table.append(Entry(f"{name}.0.bias", (collection, "fusion", "bias")))
    if config.smoothing:
        for name, collection in _domain_parts("smoothing", config, config.domain_smoothing):
            table.append(Entry(f"{name}.weight", (collection, "smoothing", "kernel"), "plane"))
    return table


def plain(state: State, anchor: str, file: str) -> dict[str, np.ndarray]:
    """Removes the prefixes and parts that wrappers and trainers add to the names of a state dict.

    Args:
      state: name -> array, such as `module.cnn.features.0.0.weight` or `model._orig_mod.cnn...`.
      anchor: NETWORK_ANCHOR or ENCODER_ANCHOR. The prefix before it is removed from all names.
      file: name of the source, for messages.

    Raises:
      UnisalError: two tensors would get the same name.
    """
    bare = {".".join(part for part in name.split(".") if part not in _WRAPPERS): name for name in state}
    ends = [name for name in bare if name == anchor or name.endswith(f".{anchor}")]
    prefix = min(ends, key=len).removesuffix(anchor) if ends else ""
    result = {bare_name.removeprefix(prefix): state[name] for bare_name, name in bare.items()}
    if len(result) < len(state):
        raise UnisalError(f"{file}: has tensors whose names differ only by a wrapper's prefix")
    return result


def is_extra(name: str) -> bool:
    """Whether a tensor of the authors' files is one that the model does not use."""
    leaf = name.rsplit(".", 1)[-1]
    return leaf == "num_batches_tracked" or leaf.startswith("drop_mask_")


def config_of_state(state: State, file: str) -> UnisalConfig:
    """The config of a state dict with the authors' names: its domains, in the released order.

    Raises:
      UnisalError: it has a domain that is not a released one, so its sizes are unknown.
    """
    prefix = "smoothing_"
    sources = {name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)}
    known = tuple(domain for domain in RELEASED_DOMAINS if domain.source_name.lower() in sources)
    unknown = sorted(sources - {domain.source_name.lower() for domain in known})
    if unknown:
        raise UnisalError(
            f"{file}: has a domain {unknown[0]!r}, whose input size a .pth file does not contain"
        )
    return UnisalConfig(domains=known) if known else UnisalConfig()


def from_state(state: State, config: UnisalConfig, file: str) -> tuple[Tree, dict[str, np.ndarray]]:
    """Converts a state dict with the authors' names to our variables.

    Args:
      state: name -> array.
      config: the model's config.
      file: name of the source, for messages.

    Returns:
      (variables by collection, extras by name).

    Raises:
      UnisalError: tensors are missing, unexpected or of another shape.
    """
    table = entries(config)
    _refuse_names(file, "lacks", [e.name for e in table if e.name not in state])
    known = {entry.name for entry in table}
    extras = {name: np.asarray(array) for name, array in state.items() if is_extra(name)}
    _refuse_names(file, "has unknown", [name for name in state if name not in known and name not in extras])
    return _fill(table, state, variable_shapes(config), file), extras


def _fill(table: list[Entry], state: State, shapes: Tree, file: str) -> Tree:
    tree: Tree = {}
    for entry in table:
        array = np.asarray(state[entry.name])
        want = leaf(shapes, entry.path)
        ours = entry.to_ours(array) if entry.rank() in (None, array.ndim) else None
        if ours is None or ours.shape != want or entry.to_theirs(ours).shape != array.shape:
            theirs = entry.to_theirs(np.broadcast_to(np.float32(0), want)).shape
            raise UnisalError(
                f"{file}: tensor {entry.name} has shape {list(array.shape)}, not {list(theirs)}"
            )
        node = tree
        for key in entry.path[:-1]:
            node = node.setdefault(key, {})
        node[entry.path[-1]] = ours
    return tree


def encoder_from_state(state: State, file: str) -> Tree:
    """The encoder's part of `params` and `batch_stats` from an ImageNet MobileNetV2, without its classifier.

    Raises:
      UnisalError: as `from_state`.
    """
    table = list(encoder_entries(prefix=""))
    _refuse_names(file, "lacks", [e.name for e in table if e.name not in state])
    known = {entry.name for entry in table}
    _refuse_names(
        file,
        "has unknown",
        [
            name
            for name in state
            if name not in known and not is_extra(name) and not name.startswith("classifier.")
        ],
    )
    return _fill(table, state, encoder_shapes(), file)


def to_state(variables: Tree, config: UnisalConfig, extras: State) -> dict[str, np.ndarray]:
    """Converts our variables to a state dict with the authors' names, including the extras."""
    state = {
        entry.name: entry.to_theirs(np.asarray(leaf(variables, entry.path))) for entry in entries(config)
    }
    return {**state, **extras}


def leaf(tree: Tree, path: tuple[str, ...]) -> Any:
    """The value at a path of a nested dict."""
    for key in path:
        tree = tree[key]
    return tree


def _refuse_names(file: str, what: str, names: list[str]) -> None:
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise UnisalError(f"{file}: {what} {'tensor' if len(names) == 1 else 'tensors'} {shown}")
