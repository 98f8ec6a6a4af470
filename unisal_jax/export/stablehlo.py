"""The network as StableHLO: one artifact for CPU, CUDA and TPU, that runs with nothing but JAX.

Batch and sizes may be symbolic. The artifact holds the fastest form of the layers for each platform
(`models.forms`); what the others have is dropped when it is compiled.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.domains import SIZE_UNIT, Size
from unisal_jax.errors import UnisalError
from unisal_jax.export.signature import Call, Signature
from unisal_jax.models.inference import Folded
from unisal_jax.models.layers import depthwise_conv, relu6
from unisal_jax.models.maps import gaussian_maps
from unisal_jax.models.unisal import Unisal
from unisal_jax.normalization import normalize

PLATFORMS = ("cpu", "cuda", "tpu")
FACTS: dict[str, Any] = {"platforms": list(PLATFORMS)}
"""For the card."""
# In the file itself an artifact has the name of what it computes, and no word of where it was made.
_LOCATIONS = {
    "jax_include_full_tracebacks_in_locations": False,
    "jax_hlo_source_file_canonicalization_regex": ".*",
}


def serialize(folded: Folded, signature: Signature) -> bytes:
    """The artifact: `jax.export.deserialize(bytearray(artifact)).call(frames[, state])`.

    It returns the maps, and the next state if streaming, as a tuple.

    Raises:
      UnisalError: flatbuffers is not installed.
    """
    try:
        import flatbuffers  # noqa: F401 - jax.export needs it, and does not say so
    except ImportError as error:
        raise UnisalError(
            "--format stablehlo needs flatbuffers; install it with: pip install 'unisal-jax[export]'"
        ) from error
    from jax import export

    # Those of a fixed size are computed here, as constants of the artifact.
    fixed = folded.variables(signature.input_size) if signature.input_size else None
    function = jax.jit(functools.partial(_predict, folded, fixed, signature))
    types = ["uint8" if signature.uint8 else "float32", "float32"]
    shapes = [signature.frames_shape] + [signature.state_shape] * signature.streaming
    scope = export.SymbolicScope()
    arguments = [
        jax.ShapeDtypeStruct(export.symbolic_shape(", ".join(shape), scope=scope), dtype)
        for shape, dtype in zip(shapes, types, strict=False)
    ]
    with _locations():
        exported = export.export(function, platforms=PLATFORMS)(*arguments)
    return bytes(exported.serialize())


def loaded(artifact: bytes) -> Call:
    """The artifact's function, from its bytes."""
    from jax import export

    call = jax.jit(export.deserialize(bytearray(artifact)).call)
    return lambda *arguments: tuple(np.asarray(each) for each in call(*arguments))


def _predict(
    folded: Folded,
    fixed: dict[str, Any] | None,
    signature: Signature,
    frames: jax.Array,
    state: jax.Array | None = None,
) -> tuple[jax.Array, ...]:
    x = (normalize(frames) if signature.uint8 else frames)[:, None]
    variables = fixed or _variables(folded, (x.shape[2], x.shape[3]))

    def of(backend: str) -> Callable[..., Any]:
        network = Unisal(folded.config, folded=True, backend=backend)
        return lambda variables, x, state: network.apply(
            variables, x, signature.domain, static=not signature.streaming, hidden=state
        )

    log_density, state = jax.lax.platform_dependent(
        variables, x, state, cpu=of("cpu"), cuda=of("gpu"), tpu=of("tpu")
    )
    maps = jnp.exp(log_density[:, 0]) if signature.uint8 else log_density[:, 0]
    return (maps, state) if signature.streaming else (maps,)


def _variables(folded: Folded, size: Size) -> dict[str, Any]:
    """As `Folded.variables`, for a symbolic size: the artifact computes the prior maps."""
    if not folded.priors:
        return {"params": folded.params}
    priors = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in folded.priors.items()}
    maps = gaussian_maps(priors["gaussians"], (size[0] // SIZE_UNIT, size[1] // SIZE_UNIT))
    spatial = relu6(depthwise_conv(maps, priors["spatial"], form="grouped") + priors["bias"])
    share = jnp.matmul(spatial, priors["project"], precision=jax.lax.Precision.HIGHEST)
    post_cnn = dict(folded.params["post_cnn"])
    post_cnn["project_norm"] = {"bias": post_cnn["project_norm"]["bias"] + share}
    return {"params": {**folded.params, "post_cnn": post_cnn}}


@contextlib.contextmanager
def _locations() -> Iterator[None]:
    """Traces without the names of source files."""
    before = {name: jax.config.values[name] for name in _LOCATIONS}
    try:
        for name, value in _LOCATIONS.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
