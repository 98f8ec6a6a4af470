"""Compares the folded network with the original model, in float64 and for each engine."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from tests.helpers.golden_weights import made_up
from tests.models.test_golden import CASES, ENCODER, errors
from unisal_jax.domains import DHF1K, SALICON, UCF_SPORTS, find_domain
from unisal_jax.inference.engines import open_engine
from unisal_jax.inference.fold import fold
from unisal_jax.inference.jax_engine import Program, log_density
from unisal_jax.inference.jax_operations import forms_of
from unisal_jax.inference.onnx_graph import build
from unisal_jax.inference.onnx_plan import Plan
from unisal_jax.media.images import resize_frame
from unisal_jax.media.video import open_video
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.layers import resize_bilinear
from unisal_jax.models.unisal import Unisal
from unisal_jax.normalization import normalize
from unisal_jax.weights.contents import Weights

ENGINES = ("jax", "onnxruntime")
SIZE = (32, 64)
TWO = (DHF1K, SALICON)
# Name -> (config, domain). Each field that affects the network is changed in one of them.
NETWORKS = {
    "video": (UnisalConfig(TWO), DHF1K),
    "image": (UnisalConfig(TWO), SALICON),
    "dense": (UnisalConfig(TWO, separable=False, bilinear=False, rnn_bypass=False), SALICON),
    "bare": (UnisalConfig(TWO, prior_maps=False, skips=False, smoothing=False), DHF1K),
    "shared": (
        UnisalConfig(TWO, rnn_residual=False, rnn_bypass=False, domain_norm=False, domain_priors=False),
        DHF1K,
    ),
    "no recurrence": (UnisalConfig(TWO, rnn=False, domain_fusion=False, domain_smoothing=False), DHF1K),
    "images alone": (UnisalConfig((SALICON,), bilinear=False, skips=False), SALICON),
}


def plain(config, variables, x, domain, **options):
    """Log-densities [batch, time, height, width] and the last state, from `Unisal`."""
    apply = jax.jit(lambda v, x: Unisal(config).apply(v, x, domain, **options))
    return jax.tree.map(np.asarray, apply(variables, x))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_config(rng, name):
    """Every config can be predicted with: in JAX exact up to rounding, in ONNX Runtime in float32."""
    config, domain = NETWORKS[name]
    weights = Weights(made_up(config), config)
    before = jax.tree.map(np.array, weights.variables)
    frames = rng.integers(0, 256, (2, 2, *SIZE, 3), np.uint8)
    with jax.enable_x64(True):
        x = jnp.asarray(normalize(frames, np.float64))
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), weights.variables)
        want, last = plain(config, wide, x, domain)
        found, state = run_folded(weights, domain, x, domain.static)
    np.testing.assert_allclose(found, want, atol=1e-9)
    assert (state is None) == (last is None)
    if state is not None:
        np.testing.assert_allclose(state, last, atol=1e-9)

    engine = open_engine(weights, "onnxruntime")
    state = engine.zero_state(domain, 2, SIZE)
    assert (state is None) == (last is None)
    for time in range(2):
        maps, state = engine.frames(frames[:, time], domain, state)
        np.testing.assert_allclose(maps, want[:, time], atol=1e-3)
    if domain.static:
        np.testing.assert_allclose(engine.images(frames[:, 0], domain), want[:, 0], atol=1e-3)
    # Folding does not change its input.
    jax.tree.map(np.testing.assert_array_equal, before, weights.variables)


def test_thirty_domains(rng):
    """Each domain is predicted with its own arrays, whatever those of the others."""
    config = UnisalConfig(TWO)
    variables = made_up(config)
    many = tuple(dataclasses.replace(SALICON, name=f"own_{number}", source_name="") for number in range(30))
    others = {
        name: tree
        for domain in many
        for name, tree in zip((domain.name, domain.stats), made_up_domain(domain), strict=True)
    }
    others |= {many[17].name: variables[SALICON.name], many[17].stats: variables[SALICON.stats]}
    frames = rng.integers(0, 256, (1, *SIZE, 3), np.uint8)
    want = open_engine(Weights(variables, config), "onnxruntime").images(frames, SALICON)
    grown = Weights({**variables, **others}, UnisalConfig((*TWO, *many)))
    engine = open_engine(grown, "onnxruntime")
    np.testing.assert_array_equal(engine.images(frames, many[17]), want)
    assert np.abs(engine.images(frames, many[16]) - want).max() > 1e-3


def made_up_domain(domain):
    """(parameters, statistics) of one domain."""
    variables = made_up(UnisalConfig((DHF1K, domain)), seed=int(domain.name.removeprefix("own_")))
    return variables[domain.name], variables[domain.stats]


def run_folded(weights, domain, x, static):
    """Log-densities and the last state for normalised frames [batch, time, height, width, 3]."""
    program = Program(weights.config, str(x.dtype), forms_of())
    params = fold(weights.variables, weights.config, domain).sized(x.shape[2:4])

    @jax.jit
    def step(params, x, state):
        found = program(params, x, state)
        return log_density(found.logits), found.state

    state, maps = None, []
    if weights.config.has_recurrence(static):
        state = jnp.zeros((len(x), x.shape[2] // 32, x.shape[3] // 32, 256), x.dtype)
    for time in range(x.shape[1]):
        out, state = step(params, x[:, time], state)
        maps.append(out)
    return np.stack(maps, 1), None if state is None else np.asarray(state)


def golden_input(case, dtype):
    x = np.random.Generator(np.random.PCG64(case["input_seed"])).standard_normal(
        (1, case["frames"], 3, *case["input_hw"])
    )
    return x.astype(np.float32).transpose(0, 1, 3, 4, 2).astype(dtype)


def at_target_size(maps, case):
    """As in the original: resizes the logits, here up to a constant, and normalises them to a density."""
    resized = np.asarray(resize_bilinear(jnp.asarray(maps), tuple(case["target_hw"])))
    return resized - np.asarray(jax.nn.logsumexp(resized, (-2, -1), keepdims=True))


# A program each. The others always run in ONNX Runtime (below), which compiles nothing, and as the plain
# network (models/test_golden.py), which `test_every_network` compares with this one in float64.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("dhf1k_video", "salicon_image") else pytest.mark.slow)
        for name in CASES
    ],
)
def test_golden_in_float64(golden, name):
    """Within the rounding of the stored values, like the original model."""
    case, weights = CASES[name], golden(7)
    with jax.enable_x64(True):
        x = golden_input(case, np.float64)
        maps, state = run_folded(weights, find_domain(case["source"]), x, case["static"])
        maps = at_target_size(maps[0], case)
    assert_golden(name, maps, state, most=1e-5, mean=1e-5, state_most=1e-5)


def test_golden_in_float32(golden):
    """Within the tolerances of the original model."""
    name = "dhf1k_video"
    maps, state = run_folded(golden(7), DHF1K, golden_input(CASES[name], np.float32), static=False)
    assert_golden(name, at_target_size(maps[0], CASES[name]), state)


@pytest.mark.parametrize("name", CASES)
def test_golden_in_onnxruntime(golden, name):
    """Within the same tolerances."""
    case, weights = CASES[name], golden(7)
    domain, x = find_domain(case["source"]), golden_input(case, np.float32)
    streaming = weights.config.has_recurrence(case["static"])
    plan = Plan(tuple(case["input_hw"]), None, streaming=streaming, uint8=False, log=True)
    graph = build(fold(weights.variables, weights.config, domain), plan, {})
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found, state = [], np.zeros((1, 256, *(side // 32 for side in case["input_hw"])), np.float32)
    for frame in x[0]:
        inputs = {"frames": np.ascontiguousarray(frame.transpose(2, 0, 1)[None])}
        out, *rest = session.run(None, {**inputs, "state": state} if streaming else inputs)
        found.append(out[0])
        state = rest[0] if rest else state
    state = state.transpose(0, 2, 3, 1) if streaming else None
    assert_golden(name, at_target_size(np.stack(found), case), state)


def assert_golden(name, maps, state, most=1e-3, mean=1e-4, state_most=2e-3):
    # `test_features` checks the encoder's means.
    unknown = {each: np.zeros(1) for each in ENCODER}
    apart, state_apart, _ = errors(name, CASES[name], maps, None if state is None else state[0], unknown)
    assert apart.max() < most and apart.mean() < mean and state_apart < state_most


@pytest.fixture(params=ENGINES)
def released_engine(request, released):
    return open_engine(released, request.param)


@pytest.mark.parametrize(("domain", "size"), [(SALICON, (96, 32)), (UCF_SPORTS, SIZE)], ids=["tall", "wide"])
def test_engine_on_images(released, released_engine, rng, domain, size):
    """Maps and feature maps, for a batch that is not a power of two: within 1e-4 of the original model."""
    frames = rng.integers(0, 256, (3, *size, 3), np.uint8)
    (want, _), inner = plain(
        released.config,
        released.variables,
        normalize(frames)[:, None],
        domain,
        static=True,
        mutable=["intermediates"],
    )
    found = released_engine.images(frames, domain)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, want[:, 0], atol=1e-4)
    np.testing.assert_allclose(np.exp(np.float64(found)).sum((1, 2)), 1, atol=1e-5)
    features = released_engine.features(frames, domain)
    assert set(features) == set(inner["intermediates"])
    for name, (maps,) in inner["intermediates"].items():
        maps = maps[:, 0] if maps.ndim == 5 else maps[:, 0, ..., None]
        np.testing.assert_allclose(features[name], maps, atol=1e-4)


def test_engine_on_sequences(released, released_engine, rng):
    """Two recurrences in one batch, and each on its own."""
    frames = rng.integers(0, 256, (2, 3, *SIZE, 3), np.uint8)
    want, last = plain(released.config, released.variables, normalize(frames), DHF1K)
    state = released_engine.zero_state(DHF1K, 2, SIZE)
    alone = released_engine.zero_state(DHF1K, 1, SIZE)
    for time in range(3):
        maps, state = released_engine.frames(frames[:, time], DHF1K, state)
        np.testing.assert_allclose(maps, want[:, time], atol=1e-4)
        maps, alone = released_engine.frames(frames[:1, time], DHF1K, alone)
        np.testing.assert_allclose(maps, want[:1, time], atol=1e-4)
    channels_first = released_engine.name == "onnxruntime"
    state = np.asarray(state).transpose(0, 2, 3, 1) if channels_first else state
    np.testing.assert_allclose(state, last, atol=1e-4)
    assert released_engine.zero_state(SALICON, 1, SIZE) is None


def test_engine_on_the_real_clip(released, released_engine, real_clip):
    apply = jax.jit(
        lambda variables, x, hidden: Unisal(released.config).apply(variables, x, UCF_SPORTS, hidden=hidden)
    )
    state, hidden = released_engine.zero_state(UCF_SPORTS, 1, UCF_SPORTS.input_size), None
    with open_video(real_clip / "images") as frames:
        for frame in itertools.islice(frames, 0, 40, UCF_SPORTS.stride):
            small = resize_frame(frame, UCF_SPORTS.input_size)[None]
            want, hidden = apply(released.variables, normalize(small)[None], hidden)
            found, state = released_engine.frames(small, UCF_SPORTS, state)
            np.testing.assert_allclose(found, want[0], atol=1e-4)
