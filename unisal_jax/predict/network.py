"""The network made ready to predict: variables on the device, one compiled program a shape."""

import functools
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.domains import Domain, Size
from unisal_jax.models.unisal import HIDDEN_FEATURES, Unisal, UnisalConfig, normalize


class Network:
    """A network and its variables, for prediction.

    Frames go in as uint8 at the input size, so that a batch is a quarter of the bytes of float32 on
    its way to the device. Maps come out at the input size; `finish` brings them to any other size
    without compiling a program for it.
    """

    def __init__(self, config: UnisalConfig, variables: dict[str, Any]):
        self.config = config
        self._variables = variables
        self._on_device: dict[str, dict[str, Any]] = {}

    def variables(self, domain: Domain) -> dict[str, Any]:
        """What a prediction in this domain needs, on the device."""
        if domain.name not in self._on_device:
            wanted = ("params", "batch_stats", domain.name, domain.stats)
            self._on_device[domain.name] = jax.device_put(
                {c: v for c, v in self._variables.items() if c in wanted}
            )
        return self._on_device[domain.name]

    def has_recurrence(self, domain: Domain) -> bool:
        """False where frames of this domain bypass the RNN."""
        return self.config.has_rnn and not (domain.static and self.config.rnn_bypass)

    def zero_state(self, domain: Domain, sequences: int, input_size: Size) -> jax.Array | None:
        """State [sequences, height / 32, width / 32, 256] before the first frame; None without recurrence."""
        if not self.has_recurrence(domain):
            return None
        return jnp.zeros((sequences, input_size[0] // 32, input_size[1] // 32, HIDDEN_FEATURES))

    def images(self, frames: np.ndarray, domain: Domain) -> jax.Array:
        """Log-density [batch, height, width] of pictures, uint8 RGB [batch, height, width, 3]."""
        return _images(self.config, domain, self.variables(domain), frames)

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
        return _frames(self.config, domain, self.variables(domain), state, frames)

    def stream_step(
        self, frame: np.ndarray, domain: Domain, ring: jax.Array | None, slot: int, size: Size
    ) -> tuple[jax.Array, jax.Array | None]:
        """One frame of one of the interleaved sequences.

        Args:
          frame: uint8 RGB [height, width, 3].
          domain: of the batch norms and the rest.
          ring: hidden states [stride, ...] of all sequences, given up to the call; or None.
          slot: which sequence the frame belongs to.
          size: (height, width) of the result.
        Returns:
          (log-density [*size], next ring).
        """
        return _stream_step(self.config, domain, size, self.variables(domain), ring, frame, np.int32(slot))

    def features(self, frame: np.ndarray, domain: Domain) -> dict[str, jax.Array]:
        """Inner feature maps [height, width, channels] by name, for uint8 RGB [height, width, 3]."""
        return _features(self.config, domain, self.variables(domain), frame)


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
    total = np.exp(resized - peak).sum(dtype=np.float64)
    return resized - np.float32(peak + np.log(total))


# Plain functions, so that all networks of one config share their compiled programs. Config and
# domain are hashable and decide the program.


@functools.partial(jax.jit, static_argnums=(0, 1))
def _images(config: UnisalConfig, domain: Domain, variables: dict, frames: jax.Array) -> jax.Array:
    # A picture is static in any domain.
    log_density, _ = Unisal(config).apply(variables, normalize(frames)[:, None], domain, static=True)
    return log_density[:, 0]


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(3,))
def _frames(
    config: UnisalConfig, domain: Domain, variables: dict, state: jax.Array | None, frames: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    result: Any = Unisal(config).apply(variables, normalize(frames)[:, None], domain, hidden=state)
    log_density, state = result
    return log_density[:, 0], state


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=(4,))
def _stream_step(
    config: UnisalConfig,
    domain: Domain,
    size: Size,
    variables: dict,
    ring: jax.Array | None,
    frame: jax.Array,
    slot: jax.Array,
) -> tuple[jax.Array, jax.Array | None]:
    state = None if ring is None else jax.lax.dynamic_slice_in_dim(ring, slot, 1)
    x = normalize(frame)[None, None]
    result: Any = Unisal(config).apply(variables, x, domain, hidden=state, target_size=size)
    log_density, state = result
    if ring is not None:
        ring = jax.lax.dynamic_update_slice_in_dim(ring, state, slot, 0)
    return log_density[0, 0], ring


@functools.partial(jax.jit, static_argnums=(0, 1))
def _features(
    config: UnisalConfig, domain: Domain, variables: dict, frame: jax.Array
) -> dict[str, jax.Array]:
    x = normalize(frame)[None, None]
    _, found = Unisal(config).apply(variables, x, domain, static=True, mutable=["intermediates"])
    return {name: maps[0][0, 0] for name, maps in found["intermediates"].items()}
