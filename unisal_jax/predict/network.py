"""The network made ready to predict: variables on the device, one compiled program a shape."""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.backend import local_devices
from unisal_jax.domains import Domain, Size
from unisal_jax.media.images import row_strips
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.inference import Folded, fold
from unisal_jax.models.unisal import Unisal
from unisal_jax.normalization import normalize

Dtype = Literal["float32", "bfloat16"]


class Network:
    """A network and its variables, folded for prediction (`models.inference`).

    Frames go in as uint8 at the input size, so that a batch is a quarter of the bytes of float32 on
    its way to the device. Maps come out at the input size; `finish` brings them to any other size
    without compiling a program for it.

    Args:
      config: of the network.
      variables: all its collections, in any memory.
      dtype: of the computation; parameters, log-densities and their softmax are float32 in any case.
      devices: pictures are shared out over these; None for all local ones. Video is for the first.
    """

    def __init__(
        self,
        config: UnisalConfig,
        variables: dict[str, Any],
        dtype: Dtype = "float32",
        devices: Sequence[jax.Device] | None = None,
    ):
        self.config = config
        self.dtype = dtype
        self.devices = tuple(devices or local_devices())
        self._variables = variables
        self._folded = functools.cache(self._fold)
        self._on_devices = functools.cache(self._place)
        self._sized = functools.cache(self._variables_of)

    def on(self, device: jax.Device) -> "Network":
        """The same network on another device."""
        return Network(self.config, self._variables, self.dtype, (device,))

    def _fold(self, domain: Domain) -> Folded:
        return fold(self._variables, self.config, domain)

    def _place(self, domain: Domain, devices: tuple[jax.Device, ...]) -> dict[str, Any]:
        return jax.device_put(self._folded(domain).params, _over(devices))

    def _variables_of(
        self, domain: Domain, input_size: Size, devices: tuple[jax.Device, ...]
    ) -> dict[str, Any]:
        sized = self._folded(domain).variables(input_size, self._on_devices(domain, devices))
        return jax.device_put(sized, _over(devices))

    def _program(
        self, domain: Domain, frames: np.ndarray | jax.Array, devices: int = 1
    ) -> tuple["Program", dict[str, Any], np.ndarray | jax.Array]:
        """What decides the compiled program, the variables, and the frames, on so many devices."""
        used = self.devices[:devices]
        program = Program(self._folded(domain).config, domain, self.dtype)
        variables = self._sized(domain, frames.shape[-3:-1], used)
        return program, variables, jax.device_put(frames, _over(used, split=True)) if devices > 1 else frames

    def has_recurrence(self, domain: Domain) -> bool:
        """False where frames of this domain bypass the RNN."""
        return self.config.has_rnn and not (domain.static and self.config.rnn_bypass)

    def zero_state(self, domain: Domain, sequences: int, input_size: Size) -> jax.Array | None:
        """State [sequences, height / 32, width / 32, 256] before the first frame; None without recurrence."""
        if not self.has_recurrence(domain):
            return None
        shape = (sequences, input_size[0] // 32, input_size[1] // 32, HIDDEN_FEATURES)
        return jax.device_put(jnp.zeros(shape, self.dtype), self.devices[0])

    def images(self, frames: np.ndarray | jax.Array, domain: Domain) -> jax.Array:
        """Log-density [batch, height, width] of pictures, uint8 RGB [batch, height, width, 3].

        A batch that they divide is shared out over the devices.
        """
        count = len(self.devices)
        return _images(*self._program(domain, frames, count if len(frames) % count == 0 else 1))

    def frames(
        self, frames: np.ndarray, domain: Domain, state: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        """One frame of each of several sequences.

        Args:
          frames: uint8 RGB [sequences, height, width, 3].
          domain: of the batch norms and the rest.
          state: hidden state [sequences, ...], given up to the call; None without recurrence.
        Returns:
          (log-density [sequences, height, width], next state).
        """
        program, variables, placed = self._program(domain, frames)
        return _frames(program, variables, state, placed)

    def stream_step(
        self,
        frame: np.ndarray,
        domain: Domain,
        ring: jax.Array | None,
        slot: int,
        size: Size,
        log: bool = True,
    ) -> tuple[jax.Array, jax.Array | None]:
        """One frame of one of the interleaved sequences.

        Args:
          frame: uint8 RGB [height, width, 3].
          domain: of the batch norms and the rest.
          ring: hidden states [stride, ...] of all sequences, given up to the call; or None.
          slot: which sequence the frame belongs to.
          size: (height, width) of the result.
          log: give the log-density.
        Returns:
          (density or log-density [*size], next ring).
        """
        program, variables, placed = self._program(domain, frame)
        return _stream_step(program, size, log, variables, ring, placed, np.int32(slot))

    def lower_images(self, frames: np.ndarray | jax.Array, domain: Domain) -> jax.stages.Lowered:
        """The program of `images`, on one device, not compiled yet."""
        return _images.lower(*self._program(domain, frames))

    def lower_stream(
        self, frame: np.ndarray, domain: Domain, ring: jax.Array | None, size: Size
    ) -> jax.stages.Lowered:
        """The program of `stream_step`, not compiled yet."""
        program, variables, placed = self._program(domain, frame)
        return _stream_step.lower(program, size, True, variables, ring, placed, np.int32(0))

    def features(self, frame: np.ndarray, domain: Domain) -> dict[str, jax.Array]:
        """Inner feature maps [height, width, channels] by name, for uint8 RGB [height, width, 3]."""
        return _features(*self._program(domain, frame))


def finish(log_density: np.ndarray, size: Size) -> np.ndarray:
    """Brings a log-density to another size.

    Bilinear with half-pixel centres and no antialiasing, and normalised anew. This equals resizing
    the network's output before its log-softmax, since both only differ by a constant.

    Args:
      log_density: float32 [height, width].
      size: (height, width) out.
    Returns:
      float32 [*size], whose exponential sums to one.
    """
    resized = cv2.resize(np.asarray(log_density), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    peak = resized.max()
    total = sum(np.exp(resized[rows] - peak).sum(dtype=np.float64) for rows in row_strips(*size))
    np.subtract(resized, np.float32(peak + np.log(total)), out=resized)
    return resized


def _over(devices: tuple[jax.Device, ...], split: bool = False) -> jax.sharding.Sharding:
    """Whole on each of the devices, or with the first axis shared out over them."""
    if len(devices) == 1:
        return jax.sharding.SingleDeviceSharding(devices[0])
    mesh = jax.sharding.Mesh(np.asarray(devices), ("batch",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch" if split else None))


class Program(NamedTuple):
    """What decides a compiled program, besides shapes. Networks of one config share theirs."""

    config: UnisalConfig
    domain: Domain
    dtype: Dtype

    def apply(self, variables: dict, frames: jax.Array, **options: Any) -> Any:
        """Runs the folded network on uint8 RGB [batch, time, height, width, 3]."""
        x = normalize(frames, jnp.dtype(self.dtype))
        return Unisal(self.config, folded=True).apply(variables, x, self.domain, **options)


@functools.partial(jax.jit, static_argnums=0)
def _images(program: Program, variables: dict, frames: jax.Array) -> jax.Array:
    # A picture is static in any domain.
    log_density, _ = program.apply(variables, frames[:, None], static=True)
    return log_density[:, 0]


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _frames(
    program: Program, variables: dict, state: jax.Array | None, frames: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    log_density, state = program.apply(variables, frames[:, None], hidden=state)
    return log_density[:, 0], state


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _stream_step(
    program: Program,
    size: Size,
    log: bool,
    variables: dict,
    ring: jax.Array | None,
    frame: jax.Array,
    slot: jax.Array,
) -> tuple[jax.Array, jax.Array | None]:
    state = None if ring is None else jax.lax.dynamic_slice_in_dim(ring, slot, 1)
    log_density, state = program.apply(variables, frame[None, None], hidden=state, target_size=size)
    if ring is not None:
        ring = jax.lax.dynamic_update_slice_in_dim(ring, state, slot, 0)
    return log_density[0, 0] if log else jnp.exp(log_density[0, 0]), ring


@functools.partial(jax.jit, static_argnums=0)
def _features(program: Program, variables: dict, frame: jax.Array) -> dict[str, jax.Array]:
    _, found = program.apply(variables, frame[None, None], static=True, mutable=["intermediates"])
    return {name: maps[0][0, 0] for name, maps in found["intermediates"].items()}
