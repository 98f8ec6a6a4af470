"""The shape of every variable of a model, without building it (paper, Table 1). Does not import JAX.

A variable's path is its collection, its modules and its name: "params/encoder/stem/kernel".
"""

from collections.abc import Iterator
from typing import Any

from unisal_jax.domains import Domain
from unisal_jax.models.architecture import (
    BLOCKS,
    ENCODER_FEATURES,
    GATES,
    HIDDEN_FEATURES,
    PRIORS,
    SKIP_8_FEATURES,
    SKIP_16_FEATURES,
    SMOOTHING_SIZE,
    STEM_FEATURES,
    TAP_8,
    TAP_16,
)
from unisal_jax.models.config import UnisalConfig
from unisal_jax.trees import unflatten

Shapes = Iterator[tuple[str, tuple[int, ...]]]
Domains = tuple[Domain, ...]


def variable_shapes(config: UnisalConfig) -> dict[str, Any]:
    """The shape of every variable of a model, all float32: nested dicts of tuples, by collection."""
    return unflatten(dict(_model(config, config.has_rnn)))


def encoder_shapes() -> dict[str, Any]:
    """The encoder's part of `params` and `batch_stats`, the same for every config."""
    return unflatten(dict(_encoder()))


def domain_shapes(config: UnisalConfig, recurrence: bool) -> dict[str, Any]:
    """As `variable_shapes`, for the two collections of the config's first domain.

    Args:
      config: the model's config, with that domain alone.
      recurrence: whether the model has the RNN; other domains may use it where this one does not.
    """
    domain = config.domains[0]
    shapes = unflatten(dict(_model(config, recurrence)))
    return {name: shapes.get(name, {}) for name in (domain.name, domain.stats)}


def _model(config: UnisalConfig, recurrence: bool) -> Shapes:
    def owners(adaptive: bool) -> Domains:
        return config.domains if adaptive else ()

    norms, dense = owners(config.domain_norm), not config.separable
    yield from _encoder()
    features = ENCODER_FEATURES
    if config.prior_maps:
        yield from _variable(owners(config.domain_priors), "prior_maps/gaussians", (PRIORS, 2, 2))
        features += PRIORS
    # Its batch norm is shared by all domains, and it is never dense.
    yield from _inverted_residual("post_cnn", features, 1, HIDDEN_FEATURES)
    if recurrence:
        for gate in GATES:
            yield f"params/rnn/{gate}_bias", (HIDDEN_FEATURES,)
            yield from _gate(f"rnn/{gate}_input", norms, dense)
            yield from _gate(f"rnn/{gate}_hidden", norms, dense)
        yield from _pointwise("post_rnn", HIDDEN_FEATURES, HIDDEN_FEATURES, norms)

    features = HIDDEN_FEATURES
    for level, tap, skip in ((16, TAP_16, SKIP_16_FEATURES), (8, TAP_8, SKIP_8_FEATURES)):
        if not config.bilinear:
            yield f"params/learned_upsampling_{level}/kernel", (4, 4, features, features)
        if config.skips:
            yield from _skip(f"skip_{level}", BLOCKS[tap - 1].features, skip, norms)
            features += skip
        yield from _inverted_residual(f"upsampling_{level}", features, 2, skip, norms, dense)
        features = skip
    yield from _variable(owners(config.domain_fusion), "fusion/kernel", (features, 1))
    yield from _variable(owners(config.domain_fusion), "fusion/bias", (1,))
    if config.smoothing:
        side = SMOOTHING_SIZE
        yield from _variable(owners(config.domain_smoothing), "smoothing/kernel", (side, side))


def _encoder() -> Shapes:
    """MobileNetV2; all domains share its norms."""
    yield "params/encoder/stem/kernel", (3, 3, 3, STEM_FEATURES)
    yield from _norm("encoder/stem_norm", STEM_FEATURES)
    features = STEM_FEATURES
    for number, block in enumerate(BLOCKS, 1):
        yield from _inverted_residual(f"encoder/block_{number}", features, block.expansion, block.features)
        features = block.features
    yield from _pointwise("encoder/head", features, ENCODER_FEATURES)


def _inverted_residual(
    module: str, features: int, expansion: int, out: int, norms: Domains = (), dense: bool = False
) -> Shapes:
    """1x1 up (unless the expansion is 1), 3x3, 1x1 down, each with a batch norm."""
    hidden = expansion * features
    if expansion != 1:
        yield from _pointwise(f"{module}/expand", features, hidden, norms)
    yield from _spatial(f"{module}/spatial", hidden, dense)
    yield from _norm(f"{module}/spatial_norm", hidden, norms)
    yield from _pointwise(f"{module}/project", hidden, out, norms)


def _gate(module: str, norms: Domains, dense: bool) -> Shapes:
    """One `conv_gru.GateConv`: depthwise 3x3, batch norm, 1x1, or a dense 3x3; then batch norm and scale."""
    features = HIDDEN_FEATURES
    yield from _spatial(f"{module}/spatial", features, dense)
    if not dense:
        yield from _norm(f"{module}/spatial_norm", features, norms)
        yield f"params/{module}/project/kernel", (features, features)
    yield from _norm(f"{module}/norm", features, norms)
    yield f"params/{module}/scale", (features,)


def _skip(module: str, features: int, out: int, norms: Domains) -> Shapes:
    """1x1 to twice the channels, 1x1 with bias; each with a batch norm."""
    yield from _pointwise(f"{module}_expand", features, 2 * features, norms)
    yield from _pointwise(f"{module}_reduce", 2 * features, out, norms)
    yield f"params/{module}_reduce/bias", (out,)


def _pointwise(module: str, features: int, out: int, norms: Domains = ()) -> Shapes:
    """A 1x1 convolution and the batch norm behind it."""
    yield f"params/{module}/kernel", (features, out)
    yield from _norm(f"{module}_norm", out, norms)


def _spatial(module: str, features: int, dense: bool) -> Shapes:
    yield f"params/{module}/kernel", (3, 3, features if dense else 1, features)


def _norm(module: str, features: int, norms: Domains = ()) -> Shapes:
    """A batch norm: one set of variables for each of the domains, or a shared one."""
    for trained, stats in [(each.name, each.stats) for each in norms] or [("params", "batch_stats")]:
        yield f"{trained}/{module}/scale", (features,)
        yield f"{trained}/{module}/bias", (features,)
        yield f"{stats}/{module}/mean", (features,)
        yield f"{stats}/{module}/var", (features,)


def _variable(owners: Domains, path: str, shape: tuple[int, ...]) -> Shapes:
    """A variable for each owner, or a shared one."""
    for collection in [each.name for each in owners] or ["params"]:
        yield f"{collection}/{path}", shape
