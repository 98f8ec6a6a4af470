"""The folded network in JAX: on GPUs and TPUs, in bfloat16, on several devices."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.backend import local_devices
from unisal_jax.domains import SIZE_UNIT, Domain, Size
from unisal_jax.inference.fold import Folded, Params, fold
from unisal_jax.inference.jax_operations import Forms, JaxOperations, forms_of
from unisal_jax.inference.network import Maps, network
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.models.config import UnisalConfig
from unisal_jax.normalization import normalize
from unisal_jax.weights.contents import Weights


class JaxEngine:
    """See `engines.Engine`. Keeps one compiled program per shape, and one copy of the weights per device.

    Args:
      weights: the model's weights, in any memory.
      dtype: dtype of the computation, "float32" or "bfloat16"; parameters, log-densities and their softmax
        are always float32.
      devices: devices to distribute images over; None for all local ones. Video runs on the first.
    """

    name = "jax"

    def __init__(self, weights: Weights, dtype: str = "float32", devices: Sequence[jax.Device] | None = None):
        self.config = weights.config
        self.dtype = dtype
        self.devices = tuple(devices or local_devices())
        self._weights = weights
        self._folded = functools.cache(self._fold)
        self._on_devices = functools.cache(self._place)
        self._sized = functools.cache(self._params_of)

    def on(self, device: jax.Device) -> "JaxEngine":
        """A copy of this engine on one of the devices."""
        return JaxEngine(self._weights, self.dtype, (device,))

    def of(self, weights: Weights) -> "JaxEngine":
        """A copy of this engine with other weights, on the same devices."""
        return JaxEngine(weights, self.dtype, self.devices)

    def _fold(self, domain: Domain) -> Folded:
        return fold(self._weights.variables, self.config, domain)

    def _place(self, domain: Domain, devices: tuple[jax.Device, ...]) -> Params:
        placed: Params = jax.device_put(self._folded(domain).params, _over(devices))
        return placed

    def _params_of(self, domain: Domain, input_size: Size, devices: tuple[jax.Device, ...]) -> Params:
        sized = self._folded(domain).sized(input_size, self._on_devices(domain, devices))
        placed: Params = jax.device_put(sized, _over(devices))
        return placed

    def _program(
        self, domain: Domain, frames: np.ndarray | jax.Array, devices: int = 1
    ) -> tuple["Program", Params, np.ndarray | jax.Array]:
        """The program's static arguments, the parameters, and the frames on their devices."""
        used = self.devices[:devices]
        program = Program(self.config, self.dtype, forms_of(used[0].platform))
        params = self._sized(domain, frames.shape[1:3], used)
        return program, params, jax.device_put(frames, _over(used, split=True)) if devices > 1 else frames

    def zero_state(self, domain: Domain, sequences: int, input_size: Size) -> jax.Array | None:
        """State [sequences, height / 32, width / 32, 256] before the first frame; None without recurrence."""
        if not self.config.has_recurrence(domain.static):
            return None
        height, width = (side // SIZE_UNIT for side in input_size)
        return jnp.zeros((sequences, height, width, HIDDEN_FEATURES), self.dtype, device=self.devices[0])

    def images(self, frames: np.ndarray | jax.Array, domain: Domain) -> jax.Array | np.ndarray:
        """Log-density [batch, height, width] of images.

        The batch is padded to a power of two, so that few programs are compiled. It is distributed over the
        devices if its size is a multiple of their number.
        """
        count, devices = len(frames), len(self.devices)
        full = 1 << (count - 1).bit_length()
        if full > count:
            frames = np.concatenate([frames, np.zeros((full - count, *frames.shape[1:]), np.uint8)])
        maps = _images(*self._program(domain, frames, devices if full % devices == 0 else 1))
        return maps if full == count else np.asarray(maps)[:count]

    def frames(
        self, frames: np.ndarray | jax.Array, domain: Domain, state: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        """Predicts one frame of each of several sequences; the state is donated to the call."""
        program, params, placed = self._program(domain, frames)
        maps, state = _frames(program, params, state, placed)
        return maps, state

    def features(self, frames: np.ndarray | jax.Array, domain: Domain) -> dict[str, jax.Array]:
        """Feature maps [batch, height, width, channels] of images."""
        maps: dict[str, jax.Array] = _features(*self._program(domain, frames))
        return maps

    def lower_images(self, frames: np.ndarray | jax.Array, domain: Domain) -> jax.stages.Lowered:
        """The lowered program of `images` on one device, not compiled."""
        return _images.lower(*self._program(domain, frames))

    def lower_frames(self, frames: np.ndarray, domain: Domain, state: jax.Array | None) -> jax.stages.Lowered:
        """The lowered program of `frames`, not compiled."""
        program, params, placed = self._program(domain, frames)
        return _frames.lower(program, params, state, placed)


def _over(devices: tuple[jax.Device, ...], split: bool = False) -> jax.sharding.Sharding:
    """A sharding that replicates over the devices, or with `split` divides the first axis among them."""
    if len(devices) == 1:
        return jax.sharding.SingleDeviceSharding(devices[0])
    mesh = jax.sharding.Mesh(np.asarray(devices), ("batch",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch" if split else None))


class Program(NamedTuple):
    """The static arguments of a compiled program. Models with the same config share programs."""

    config: UnisalConfig
    dtype: str
    forms: Forms

    def __call__(self, params: Params, x: jax.Array, state: jax.Array | None) -> Maps[jax.Array]:
        """Runs the folded network on normalised RGB [batch, height, width, 3] of the dtype."""
        # Full float32 precision: by default GPUs and TPUs round the inputs of products.
        with jax.default_matmul_precision("highest"):
            return network(JaxOperations(self.forms), self.config, params, x, state)

    def of_images(self, params: Params, frames: jax.Array) -> Maps[jax.Array]:
        """Runs it on images, uint8 RGB, which are static in every domain."""
        x = normalize(frames, jnp.dtype(self.dtype))
        state = None
        if self.config.has_recurrence(static=True):
            height, width = (side // SIZE_UNIT for side in frames.shape[1:3])
            state = jnp.zeros((1, height, width, HIDDEN_FEATURES), x.dtype)
        return self(params, x, state)


def log_density(logits: jax.Array) -> jax.Array:
    """[batch, height, width, 1] -> [batch, height, width], whose exponential sums to one over each map."""
    logits = logits[..., 0]
    return logits - jax.nn.logsumexp(logits, (-2, -1), keepdims=True)


@functools.partial(jax.jit, static_argnums=0)
def _images(program: Program, params: Params, frames: jax.Array) -> jax.Array:
    return log_density(program.of_images(params, frames).logits)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _frames(
    program: Program, params: Params, state: jax.Array | None, frames: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    found = program(params, normalize(frames, jnp.dtype(program.dtype)), state)
    return log_density(found.logits), found.state


@functools.partial(jax.jit, static_argnums=0)
def _features(program: Program, params: Params, frames: jax.Array) -> dict[str, jax.Array]:
    return program.of_images(params, frames).features
