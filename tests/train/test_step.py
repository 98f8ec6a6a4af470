"""Compares losses with NumPy and the optimizer with PyTorch, and checks what a step changes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers.golden_weights import made_up
from tests.helpers.train_batches import RNN, changed, check_moved, ground_truth
from unisal_jax.data.device import on_device
from unisal_jax.data.examples import Arrays
from unisal_jax.domains import DHF1K, SALICON, UCF_SPORTS
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.shapes import variable_shapes
from unisal_jax.models.unisal import Unisal
from unisal_jax.train import optimizer, state
from unisal_jax.train.losses import LossWeights, saliency_loss
from unisal_jax.train.optimizer import OptimizerConfig, encoder_frozen
from unisal_jax.train.step import eval_step, train_step

DOMAINS = (DHF1K, SALICON)
SIZE = (32, 64)


def uint8_batch(rng, count, frames):
    """A small batch as from the loader, and the same batch as floats."""
    shape = (count, frames, *SIZE)
    maps, fixations = ground_truth(rng, shape)
    maps = np.round(255 * maps / maps.max((-2, -1), keepdims=True)).astype(np.uint8)
    arrays = Arrays(rng.integers(0, 256, (*shape, 3), np.uint8), maps, np.packbits(fixations, axis=-1))
    return arrays, on_device(arrays)


# Losses


def plain_terms(log_density, maps, fixations):
    """The three terms of one frame, from their definitions."""
    p = np.exp(log_density)
    kld = sum(q * (np.log(q) - lp) for q, lp in zip(maps.ravel(), log_density.ravel(), strict=True) if q > 0)
    cc = np.corrcoef(p.ravel(), maps.ravel())[0, 1]
    nss = ((p - p.mean()) / p.std(ddof=1))[fixations].mean() if fixations.any() else np.nan
    return kld, cc, nss


@pytest.fixture
def frames(rng):
    """Log-density, maps (with zeros) and fixations [2, 3, 8, 10]; frames (0, 1), (1, 2) have no fixations."""
    logits = rng.standard_normal((2, 3, 8, 10))
    log_density = logits - np.log(np.exp(logits).sum((-2, -1), keepdims=True))
    maps, fixations = ground_truth(rng, (2, 3, 8, 10))
    maps = np.where(maps > 0.01, maps, 0)
    maps = (maps / maps.sum((-2, -1), keepdims=True)).astype(np.float64)
    fixations[[0, 1], [1, 2]] = False
    return log_density, maps, fixations


def test_losses_equal_their_definitions(frames):
    with jax.enable_x64(True):
        loss, terms = saliency_loss(*map(jnp.asarray, frames))
    rows = [plain_terms(*(part[i] for part in frames)) for i in np.ndindex(2, 3)]
    kld, cc, nss = np.nanmean(rows, 0)
    for name, want in {"kld": kld, "cc": cc, "nss": nss}.items():
        assert float(terms[name]) == pytest.approx(want, rel=1e-12), name
    assert float(loss) == pytest.approx(kld - 0.1 * cc - 0.1 * nss, rel=1e-12)


def test_loss_weights(frames):
    log_density, maps, fixations = frames
    loss, terms = saliency_loss(log_density, maps, fixations, LossWeights(2, 0, 0.5))
    assert float(loss) == pytest.approx(2 * float(terms["kld"]) + 0.5 * float(terms["nss"]))


@pytest.mark.parametrize("case", ["no fixations", "constant map", "constant prediction", "flat prediction"])
def test_loss_and_gradient_stay_finite(frames, case):
    log_density, maps, fixations = (part.copy() for part in frames)
    pixels = maps[0, 0].size
    match case:
        case "no fixations":
            fixations[:] = False
        case "constant map":
            maps[:] = 1 / pixels
        case "constant prediction":
            log_density[:] = -np.log(pixels)
        case "flat prediction":  # its squared variance underflows in float32
            log_density[:] = -np.log(pixels) + 1e-5 * log_density
    log_density = jnp.asarray(log_density, jnp.float32)
    gradient_of = jax.value_and_grad(lambda x: saliency_loss(x, maps, fixations), has_aux=True)
    (loss, terms), gradient = gradient_of(log_density)
    assert np.isfinite(loss) and np.isfinite(gradient).all() and np.any(gradient)
    zero = {"no fixations": ["nss"], "constant map": ["cc"], "constant prediction": ["cc", "nss"]}
    assert all(terms[name] == 0 for name in zero.get(case, []))


def test_loss_over_devices_equals_that_of_the_whole_batch(frames):
    """The two replicas have different numbers of frames with fixations."""
    log_density, maps, fixations = frames
    fixations[0] = False
    with jax.enable_x64(True):
        frames = [jnp.asarray(part) for part in (log_density, maps, fixations)]
        want, gradient = jax.value_and_grad(lambda x: saliency_loss(x, *frames[1:])[0])(frames[0])

        def replica(x, maps, fixations):
            value = functools.partial(saliency_loss, maps=maps, fixations=fixations, axis_name="d")
            return jax.value_and_grad(lambda x: value(x)[0])(x)

        split = [part[:, None] for part in frames]
        losses, gradients = jax.device_get(jax.vmap(replica, axis_name="d")(*split))
    np.testing.assert_allclose(losses, want, rtol=1e-12)
    # Gradients are averaged over devices, so each is multiplied by the number of devices.
    np.testing.assert_allclose(gradients[:, 0] / 2, gradient, atol=1e-13)


# Optimizer


def small_vectors(rng, scale):
    """One vector for each trained part."""
    return {
        name: scale * rng.standard_normal(size)
        for name, size in {"domain": 2, "encoder": 12, "shared": 5}.items()
    }


SGD = OptimizerConfig(weight_decay=0.02, encoder_weight_decay=0.3, clip_norm=1.5)


def run_sgd(parameters, gradients, rates):
    """Runs `updated`; returns the parameters after each step."""
    momentum, path = jax.tree.map(jnp.zeros_like, parameters), []
    for gradient, lr in zip(gradients, rates, strict=True):
        parameters, momentum, _ = optimizer.updated(SGD, jnp.asarray(lr), gradient, parameters, momentum)
        path.append(list(parameters.values()))
    return path


@pytest.fixture
def descent(rng):
    """Parameters, gradients (the first not clipped, the others are) and learning rates."""
    gradients = [small_vectors(rng, scale) for scale in (0.1, 1, 5, 0.6)]
    return small_vectors(rng, 1), gradients, (0.1, 0.1, 0.08, 0.08)


def test_sgd_equals_the_written_rule(descent):
    parameters, gradients, rates = descent
    with jax.enable_x64(True):
        got = run_sgd(*jax.tree.map(jnp.asarray, (parameters, gradients)), rates)
    p = list(parameters.values())
    v = [np.zeros_like(leaf) for leaf in p]
    for gradient, lr, ours in zip(gradients, rates, got, strict=True):
        g = list(gradient.values())
        factor = min(1, 1.5 / (np.sqrt(sum((leaf**2).sum() for leaf in g)) + 1e-6))
        for i, (decay, scale) in enumerate([(0.02, 1), (0.3, 0.1), (0.02, 1)]):
            v[i] = 0.9 * v[i] + factor * g[i] + decay * p[i]
            p[i] = p[i] - lr * scale * v[i]
            np.testing.assert_allclose(ours[i], p[i], rtol=1e-12)


@pytest.mark.torch
def test_sgd_equals_pytorch(descent):
    torch = pytest.importorskip("torch")
    parameters, gradients, rates = descent
    with jax.enable_x64(True):
        got = run_sgd(*jax.tree.map(jnp.asarray, (parameters, gradients)), rates)
    leaves = [torch.nn.Parameter(torch.tensor(leaf)) for leaf in parameters.values()]
    groups = [{"params": leaves[::2]}, {"params": leaves[1:2], "weight_decay": 0.3}]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.02)
    for gradient, lr, ours in zip(gradients, rates, got, strict=True):
        for leaf, value in zip(leaves, gradient.values(), strict=True):
            leaf.grad = torch.tensor(value)
        torch.nn.utils.clip_grad_norm_(leaves, 1.5)
        sgd.param_groups[0]["lr"], sgd.param_groups[1]["lr"] = lr, 0.1 * lr
        sgd.step()
        for mine, theirs in zip(ours, leaves, strict=True):
            np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-12)


def test_adamw_equals_the_written_rule(descent):
    """Each part has its own count: the last one is first updated in the third step."""
    parameters, gradients, rates = descent
    last = list(parameters)[-1]
    config = dataclasses.replace(SGD, name="adamw")
    with jax.enable_x64(True):
        ours = jax.tree.map(jnp.asarray, parameters)
        zeros = jax.tree.map(jnp.zeros_like, ours)
        counts = {part: jnp.zeros(2, jnp.int32) for part in ours}
        moments = {state.MEAN: zeros, state.SQUARE: zeros, state.UPDATES: counts}
        p = dict(parameters)
        m, v = ({part: np.zeros_like(each) for part, each in p.items()} for _ in range(2))
        t = dict.fromkeys(p, 0)
        for step, (gradient, lr) in enumerate(zip(gradients, rates, strict=True)):
            g = {part: each for part, each in gradient.items() if step >= 2 or part != last}
            mine = {kind: {part: of[part] for part in g} for kind, of in moments.items()}
            moved, new, norm = optimizer.updated_by_adamw(config, jnp.asarray(lr), g, ours, mine)
            ours, moments = ours | moved, {kind: moments[kind] | new[kind] for kind in moments}
            expected = np.sqrt(sum((each**2).sum() for each in g.values()))
            np.testing.assert_allclose(norm, expected, rtol=1e-12)
            for part, each in g.items():
                each = each * min(1, 1.5 / (expected + 1e-6))
                decay, scale = (0.3, 0.1) if part == state.ENCODER else (0.02, 1)
                t[part] += 1
                m[part] = 0.9 * m[part] + 0.1 * each
                v[part] = 0.999 * v[part] + 0.001 * each**2
                mean, square = m[part] / (1 - 0.9 ** t[part]), v[part] / (1 - 0.999 ** t[part])
                p[part] = p[part] - lr * scale * (mean / (np.sqrt(square) + 1e-8) + decay * p[part])
                np.testing.assert_allclose(ours[part], p[part], rtol=1e-12)
    assert {part: count.tolist() for part, count in moments[state.UPDATES].items()} == {
        part: [count, count] for part, count in t.items()
    }


def test_no_clipping(descent):
    parameters, gradients, _ = descent
    config = OptimizerConfig(momentum=0, weight_decay=0, encoder_weight_decay=0, clip_norm=None)
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    moved, _, norm = optimizer.updated(config, jnp.asarray(1.0), gradients[2], parameters, zeros)
    np.testing.assert_allclose(moved["shared"], parameters["shared"] - gradients[2]["shared"], rtol=1e-6)
    assert float(norm) == pytest.approx(float(optax.tree.norm(gradients[2])))


def test_idle_parameters_change_once_they_were_trained(descent):
    """As in PyTorch with zero gradients; parameters that never had a gradient do not change."""
    parameters, gradients, _ = descent
    trained, never = jnp.asarray([1.0, -2.0]), jnp.asarray([3.0, 4.0])
    parameters |= {"idle_salicon": trained, "shared_recurrence": never}
    momentum = jax.tree.map(jnp.zeros_like, parameters) | {"idle_salicon": jnp.asarray([0.0, 0.5])}
    moved, traced, norm = optimizer.updated(SGD, jnp.asarray(0.1), gradients[0], parameters, momentum)
    velocity = np.asarray([0.02, 0.45 - 0.04])
    np.testing.assert_allclose(traced["idle_salicon"], velocity, rtol=1e-6)
    np.testing.assert_allclose(moved["idle_salicon"], trained - 0.1 * velocity, rtol=1e-6)
    np.testing.assert_array_equal(moved["shared_recurrence"], never)
    assert not np.any(traced["shared_recurrence"])
    assert float(norm) == pytest.approx(float(optax.tree.norm(gradients[0])))


def test_learning_rates():
    config = OptimizerConfig()
    assert optimizer.learning_rate(config, 0, DHF1K) == 0.04
    assert optimizer.learning_rate(config, 3, DHF1K) == pytest.approx(0.04 * 0.8**3)
    assert optimizer.learning_rate(config, 3, SALICON) == pytest.approx(0.02 * 0.8**3)
    assert [optimizer.encoder_frozen(config, epoch) for epoch in range(4)] == [True, True, False, False]
    assert hash(config) == hash(OptimizerConfig())


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": -1.0},
        {"momentum": 1.0},
        {"clip_norm": 0.0},
        {"idle": "moving"},
        {"idle": "momentum", "name": "adamw"},
    ],
)
def test_a_wrong_optimizer_is_refused(wrong):
    with pytest.raises(UnisalError, match=next(iter(wrong))):
        OptimizerConfig(**wrong)


# Steps


@pytest.fixture(scope="module")
def small():
    """A config with two domains, and a state before training, on the host as steps donate states."""
    config = UnisalConfig(domains=DOMAINS)
    return config, jax.device_get(state.create(config, made_up(config)))


def test_a_step(small, rng):
    """The golden steps test other domains and the frozen encoder."""
    config, before = small
    step = jax.jit(train_step(config, SALICON, OptimizerConfig(), False), donate_argnums=0)
    key, lr = jax.random.key(1), jnp.asarray(0.01)
    arrays, _ = uint8_batch(rng, 2, 1)
    # A copy: the CPU backend may use the memory of a NumPy array directly, and the step donates it.
    after, metrics = jax.device_get(step(jax.tree.map(jnp.array, before), lr, arrays, key))
    check_moved(before, after, SALICON, False)
    assert after.step == 1

    assert metrics.pop("finite")
    assert all(np.isfinite(value) and value.dtype == np.float32 for value in metrics.values())
    terms = {name: float(metrics[name]) for name in ("loss", "kld", "cc", "nss")}
    assert terms["loss"] == pytest.approx(terms["kld"] - 0.1 * terms["cc"] - 0.1 * terms["nss"], rel=1e-5)
    norm = float(optax.tree.norm(before.variables[SALICON.name]))
    assert float(metrics["parameter_norm_domain"]) == pytest.approx(norm, rel=1e-5)

    # Dropout depends only on the run's key and the step count.
    again, _ = jax.device_get(step(jax.tree.map(jnp.array, before), lr, arrays, key))
    assert not changed(after.variables, again.variables)
    later = before.replace(step=np.int32(1))
    other, _ = jax.device_get(step(jax.tree.map(jnp.array, later), lr, arrays, key))
    assert changed(after.variables, other.variables)

    # If the loss is not finite, only the step count changes, and the metrics report it.
    broken = jax.tree.map(jnp.array, before)
    broken.variables[SALICON.name]["fusion"]["bias"] += jnp.inf
    started = jax.device_get(broken)
    stopped, metrics = jax.device_get(step(broken, lr, arrays, key))
    assert not metrics["finite"] and stopped.step == 1
    assert not changed(started.variables, stopped.variables) | changed(started.momentum, stopped.momentum)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "frozen"), [("sgd", False), ("adamw", True)])
def test_a_step_for_tpus_is_the_same(small, rng, name, frozen):
    """With recomputed blocks in the encoder, an average, and separate large arrays."""
    config, before = small
    config = dataclasses.replace(config, depthwise="grouped")
    with jax.enable_x64(True):
        variables = jax.tree.map(np.float64, before.variables)
        started = state.create(config, variables, averaged=True, adamw=name == "adamw")
        step = train_step(config, DHF1K, OptimizerConfig(name), frozen, average_decay=0.5, dtype=jnp.float64)
        arrays, _ = uint8_batch(rng, 2, 2)
        given = started, jnp.asarray(0.01), arrays, jax.random.key(1)
        want, found = (jax.jit(functools.partial(step, for_tpu=tpu))(*given) for tpu in (False, True))
        assert (want[1]["gradient_norm_encoder"] == 0) == frozen
        assert changed(started.variables, want[0].variables)
        jax.tree.map(lambda ours, plain: np.testing.assert_allclose(ours, plain, 1e-9, 1e-12), found, want)


def test_domain_only(small, rng):
    """Shared parameters and statistics do not change; the average follows the others."""
    config, before = small
    alone = OptimizerConfig(domain_only=True)
    step = jax.jit(train_step(config, SALICON, alone, True, average_decay=0.5), donate_argnums=0)
    arrays, _ = uint8_batch(rng, 2, 1)
    started = before.replace(average=before.variables)
    after, metrics = jax.device_get(step(jax.tree.map(jnp.array, started), 0.01, arrays, jax.random.key(1)))
    moved = {f"{c}/{m}" for c in (SALICON.name, SALICON.stats) for m in before.variables[c] if m not in RNN}
    assert changed(before.variables, after.variables) == moved
    assert changed(before.variables, after.average) == moved
    assert changed(before.momentum, after.momentum) == {m for m in moved if m.startswith("salicon/")}
    # The decay of the first step is 1 / 10.
    for collection in (SALICON.name, SALICON.stats):
        trees = (tree[collection] for tree in (before.variables, after.variables, after.average))
        jax.tree.map(
            lambda old, new, mean: np.testing.assert_allclose(mean, old + 0.9 * (new - old), atol=1e-6),
            *trees,
        )
    assert metrics["gradient_norm_encoder"] == metrics["gradient_norm_shared"] == 0
    assert metrics["gradient_norm_domain"] == pytest.approx(metrics["gradient_norm"])
    assert encoder_frozen(alone, 99)


def test_devices_without_sync_norm_stay_equal(small, rng):
    """Without synchronised batch norms, replicas have different batch statistics but the same state after."""
    config, before = small
    options = {"axis_name": "d", "sync_norm": False}
    step = train_step(config, SALICON, OptimizerConfig(domain_only=True), True, **options)
    replicas = jax.jit(jax.vmap(step, in_axes=(None, None, 0, None), axis_name="d"))
    arrays, _ = uint8_batch(rng, 4, 1)
    halves = Arrays(*(part.reshape(2, 2, *part.shape[1:]) for part in arrays))
    after, _ = jax.device_get(replicas(before, 0.01, halves, jax.random.key(1)))
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[0], leaf[1]), after)
    assert changed(before.variables, jax.tree.map(lambda leaf: leaf[0], after.variables))


def test_a_step_keeps_the_types_in_bfloat16(small, rng):
    config, before = small
    step = train_step(config, DHF1K, OptimizerConfig(), False, dtype=jnp.bfloat16)
    arrays, _ = uint8_batch(rng, 2, 3)
    after, metrics = jax.eval_shape(step, before, jnp.float32(0.1), arrays, jax.random.key(0))
    types = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (before, after)]
    assert types[0] == types[1]
    assert all(value.dtype == np.float32 for name, value in metrics.items() if name != "finite")


def test_evaluation_uses_running_statistics(small, rng):
    """The loss is that of the prediction, and uint8 and float batches give the same result."""
    config, before = small
    arrays, floats = uint8_batch(rng, 2, 1)
    score = jax.jit(eval_step(config, SALICON))
    terms, log_density = score(before.variables, arrays)
    predict = jax.jit(lambda x: Unisal(config).apply(before.variables, x, SALICON)[0])
    want_density = predict(floats.frames)
    np.testing.assert_allclose(log_density, want_density, atol=1e-4)
    loss, want = saliency_loss(want_density, floats.maps, floats.fixations)
    for name, value in {"loss": loss, **want}.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), name


def test_parts_of_the_variables():
    """What a step of other configs may change; `merged` is the inverse of `moving`."""
    shared = UnisalConfig(
        DOMAINS, domain_norm=False, domain_priors=False, domain_fusion=False, domain_smoothing=False
    )
    shapes = variable_shapes(shared)
    part = state.moving(shapes, shared, SALICON, False)
    assert set(part) == {"params"} and set(shapes["params"]) - set(part["params"]) == RNN
    assert state.merged(shapes, part) == shapes
    no_bypass = dataclasses.replace(shared, rnn_bypass=False)
    assert set(state.moving(shapes, no_bypass, SALICON, True)["params"]) >= RNN


def test_parts_as_vectors():
    """Each trained array is in exactly one part, and `replaced` is the inverse of `vectors`."""
    config = UnisalConfig(domains=(*DOMAINS, UCF_SPORTS))
    variables = made_up(config)
    mine, idle = state.parts(variables, SALICON), state.idle(variables, config, SALICON)
    assert set(mine) == {"encoder", "shared", "shared_recurrence", "domain", "domain_recurrence"}
    assert set(idle) == {"shared_recurrence", "idle_dhf1k", "idle_ucf_sports"}
    values = state.vectors(mine | idle)
    trainable = sum(
        leaf.size
        for name in ("params", "dhf1k", "salicon", "ucf_sports")
        for leaf in jax.tree.leaves(variables[name])
    )
    assert sum(vector.size for vector in values.values()) == trainable
    back = state.replaced(variables, mine | idle, values)
    assert not changed(variables, back)
    encoder = {state.ENCODER: mine[state.ENCODER]}
    apart = state.vectors(encoder, large_apart=True)
    assert {state.part_of(name) for name in apart} == {state.ENCODER}
    assert {value.ndim for value in apart.values()} == {1, 2} and len(apart) == 1 + 14
    assert sum(value.size for value in apart.values()) == values[state.ENCODER].size
    assert not changed(variables, state.replaced(variables, encoder, apart))
    doubled = state.replaced(variables, mine, {"domain_recurrence": 2 * values["domain_recurrence"]})
    assert changed(variables, doubled) == {"salicon/rnn", "salicon/post_rnn_norm"}
    # A dynamic domain uses the recurrence; a static one never trains it.
    idle = state.idle(variables, config, DHF1K)
    assert set(idle) == {"idle_salicon", "idle_ucf_sports"}
    assert not RNN & idle["idle_salicon"]["salicon"].keys()
    assert RNN & idle["idle_ucf_sports"]["ucf_sports"].keys()
    assert set(state.idle(variables, config, SALICON, domain_only=True)) == {"idle_dhf1k", "idle_ucf_sports"}


def test_a_state_is_a_copy(small):
    config, before = small
    variables = jax.tree.map(jnp.asarray, before.variables)
    made = state.create(config, variables)
    jax.tree.map(lambda leaf: leaf.delete(), made)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(variables))
    assert set(made.momentum) == {"params", "dhf1k", "salicon"}
    assert made.average is None and made.weights is made.variables
    averaged = state.create(config, variables, averaged=True)
    assert averaged.weights is averaged.average and not changed(variables, averaged.average)
