"""Export to StableHLO: one artifact for CPU, CUDA and TPU, which requires only JAX.

Batch and sizes may be symbolic. The artifact contains the fastest form of the layers for each platform
(`inference.jax_operations`); compilation drops those of the other platforms.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.domains import SIZE_UNIT, Size
from unisal_jax.errors import UnisalError
from unisal_jax.export.signature import Call, Signature
from unisal_jax.inference.fold import Folded, Params, prior_share, with_prior_share
from unisal_jax.inference.jax_engine import Program, log_density
from unisal_jax.inference.jax_operations import forms_of
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.normalization import normalize
from unisal_jax.packages import install_command

if TYPE_CHECKING:
    from jax.export import Exported

PLATFORMS = ("cpu", "cuda", "tpu")
FACTS: dict[str, Any] = {"platforms": list(PLATFORMS)}
"""Facts for the card."""
# Settings that keep the paths of source files out of the artifact.
_LOCATIONS = {
    "jax_include_full_tracebacks_in_locations": False,
    "jax_hlo_source_file_canonicalization_regex": ".*",
}


def serialize(folded: Folded, signature: Signature) -> bytes:
    """Serializes for `jax.export.deserialize(bytearray(artifact)).call(frames[, state])`.

    The call returns a tuple of the maps and, if streaming, the next state.

    Raises:
      UnisalError: flatbuffers is not installed.
    """
    try:
        import flatbuffers  # noqa: F401 - jax.export requires it, but does not declare it
    except ImportError as error:
        raise UnisalError(
            f"--format stablehlo requires flatbuffers; install it with: {install_command('export')}"
        ) from error
    return bytes(lowered(folded, signature, PLATFORMS).serialize())


def lowered(folded: Folded, signature: Signature, platforms: Sequence[str]) -> "Exported":
    """The network lowered for platforms of JAX, with their forms of the layers; not serialized yet."""
    from jax import export

    # For a fixed size, the prior maps are constants of the artifact.
    fixed = folded.sized(signature.input_size) if signature.input_size else None
    function = jax.jit(functools.partial(_predict, folded, fixed, signature))
    types = ["uint8" if signature.uint8 else "float32", "float32"]
    shapes = [signature.frames_shape] + [signature.state_shape] * signature.streaming
    scope = export.SymbolicScope()
    arguments = [
        jax.ShapeDtypeStruct(export.symbolic_shape(", ".join(shape), scope=scope), dtype)
        for shape, dtype in zip(shapes, types, strict=False)
    ]
    with _locations():
        return export.export(function, platforms=platforms)(*arguments)


def loaded(artifact: bytes) -> Call:
    """The artifact as a function."""
    from jax import export

    call = jax.jit(export.deserialize(bytearray(artifact)).call)
    return lambda *arguments: tuple(np.asarray(each) for each in call(*arguments))


def _predict(
    folded: Folded,
    fixed: Params | None,
    signature: Signature,
    frames: jax.Array,
    state: jax.Array | None = None,
) -> tuple[jax.Array, ...]:
    x = normalize(frames) if signature.uint8 else frames
    params = fixed or _sized(folded, (x.shape[1], x.shape[2]))
    if state is None and folded.config.has_recurrence(static=True):
        height, width = (side // SIZE_UNIT for side in x.shape[1:3])
        state = jnp.zeros((1, height, width, HIDDEN_FEATURES), x.dtype)

    def of(backend: str) -> Callable[..., Any]:
        program = Program(folded.config, "float32", forms_of(backend))

        def run(params: Params, x: jax.Array, state: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
            found = program(params, x, state)
            return log_density(found.logits), found.state

        return run

    maps, state = jax.lax.platform_dependent(params, x, state, cpu=of("cpu"), cuda=of("gpu"), tpu=of("tpu"))
    maps = jnp.exp(maps) if signature.uint8 else maps
    return (maps, state) if signature.streaming else (maps,)


def _sized(folded: Folded, size: Size) -> Params:
    """`Folded.sized` for a symbolic size: the artifact computes the prior maps."""
    if not folded.priors:
        return folded.params
    priors = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in folded.priors.items()}
    with jax.default_matmul_precision("highest"):
        share = prior_share(priors, (size[0] // SIZE_UNIT, size[1] // SIZE_UNIT))
    return with_prior_share(folded.params, folded.params["post_cnn"]["project_norm"]["bias"] + share)


@contextlib.contextmanager
def _locations() -> Iterator[None]:
    """Keeps paths of source files out of what is traced in this context."""
    before = {name: jax.config.values[name] for name in _LOCATIONS}
    try:
        for name, value in _LOCATIONS.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
