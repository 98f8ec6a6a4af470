"""The folded network in ONNX Runtime, on the CPU. Does not import JAX."""

import functools
from collections.abc import Sequence

import numpy as np
import onnxruntime

from unisal_jax.domains import SIZE_UNIT, Domain, Size
from unisal_jax.inference import graph_cache
from unisal_jax.inference.fold import fold
from unisal_jax.inference.network import FEATURES
from unisal_jax.inference.onnx_plan import BATCH_AXIS, Plan
from unisal_jax.machine import cores
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.models.config import UnisalConfig
from unisal_jax.weights.contents import Weights

_MAX_SESSIONS = 12


class OnnxEngine:
    """See `engines.Engine`. Keeps one session per domain, input size and method.

    Args:
      weights: the model's weights.
    """

    name = "onnxruntime"
    dtype = "float32"
    devices: tuple[str, ...] = ("cpu",)

    def __init__(self, weights: Weights):
        self.config = weights.config
        self._weights = weights
        self._session = functools.lru_cache(_MAX_SESSIONS)(self._open)

    def on(self, device: str) -> "OnnxEngine":
        """This engine: there is only one device."""
        return self

    def of(self, weights: Weights) -> "OnnxEngine":
        """An engine with other weights."""
        return OnnxEngine(weights)

    def zero_state(self, domain: Domain, sequences: int, input_size: Size) -> np.ndarray | None:
        """State [sequences, 256, height / 32, width / 32] before the first frame; None without recurrence."""
        if not self.config.has_recurrence(domain.static):
            return None
        height, width = (side // SIZE_UNIT for side in input_size)
        return np.zeros((sequences, HIDDEN_FEATURES, height, width), np.float32)

    def images(self, frames: np.ndarray, domain: Domain) -> np.ndarray:
        """Log-density [batch, height, width] of images."""
        (maps,) = self._run(domain, "images", frames=frames)
        return maps

    def frames(
        self, frames: np.ndarray, domain: Domain, state: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Predicts one frame of each of several sequences."""
        if state is None:
            return self.images(frames, domain), None
        maps, state = self._run(domain, "frames", frames=frames, state=state)
        return maps, state

    def features(self, frames: np.ndarray, domain: Domain) -> dict[str, np.ndarray]:
        """Feature maps [batch, height, width, channels] of images."""
        _, *maps = self._run(domain, "features", frames=frames)
        return dict(zip(_features(self.config), (each.transpose(0, 2, 3, 1) for each in maps), strict=True))

    def _run(self, domain: Domain, kind: str, **inputs: np.ndarray) -> Sequence[np.ndarray]:
        batch, *size = inputs["frames"].shape[:3]
        # A session for a fixed batch size is 5 to 12% faster. A video's batches all have the same size.
        fixed = batch if kind == "frames" or batch == 1 else None
        session = self._session(domain, kind, (size[0], size[1]), fixed)
        maps: Sequence[np.ndarray] = session.run(
            None, {name: np.asarray(each) for name, each in inputs.items()}
        )
        return maps

    def _open(self, domain: Domain, kind: str, size: Size, batch: int | None) -> onnxruntime.InferenceSession:
        options = session_options()
        if batch is not None:
            options.add_free_dimension_override_by_name(BATCH_AXIS, batch)
        graph = self._graph(domain, kind, size)
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def _graph(self, domain: Domain, kind: str, size: Size) -> bytes:
        def build() -> bytes:
            from unisal_jax.inference import onnx_graph  # imported late: a cached graph does not require onnx

            plan = Plan(
                size,
                batch=None,
                streaming=kind == "frames",
                uint8=True,
                log=True,
                features=_features(self.config) if kind == "features" else (),
            )
            folded = fold(self._weights.variables, self.config, domain)
            return onnx_graph.build(folded, plan, {"domain": domain.name})

        facts = {
            "config": self.config.to_json(),
            "domain": domain.name,
            "kind": kind,
            "size": size,
            "weights": self._weights.sha256,
        }
        return graph_cache.kept(facts, build)


def session_options() -> onnxruntime.SessionOptions:
    """Session options: a thread per core that the process may use; idle threads spin for at most 0.1 ms.

    By default, idle threads spin for 0.1 s. In a pipeline of 25 frames per second this doubles the CPU time
    and occupies a core that the pipeline's other stages need. Without spinning, the network is 15% slower.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.spin_duration_us", "100")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3  # errors
    return options


def _features(config: UnisalConfig) -> tuple[str, ...]:
    """Names of the feature maps that an image has."""
    return tuple(name for name in FEATURES if name != "recurrent" or config.has_recurrence(static=True))
