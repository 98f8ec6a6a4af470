"""What `unisal benchmark` measures, and its report."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.benchmark import measure, peers
from unisal_jax.domains import DHF1K, Domain, Size
from unisal_jax.normalization import normalize
from unisal_jax.predict.model import SaliencyModel
from unisal_jax.predict.network import Network

_STREAM, _STATIC = "stream", "static"
_MATMUL, _BANDWIDTH = "matmul", "bandwidth"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure; fields as the flags of `unisal benchmark`."""

    domain: str = "dhf1k"
    input_size: Size | None = None
    repeats: int = 30
    batches: tuple[int, ...] = (1, 2, 4, 8)
    wheel: Path | None = None
    peers: bool = True


def benchmark(model: SaliencyModel, options: Options) -> dict[str, Any]:
    """Measures streaming, single pictures and batches, beside the peers that are there.

    All that is timed runs in turn in one loop. Peers run the released weights; `difference` is how far
    their log-density of one random frame is from ours, at most.

    Returns:
      `machine`, `rates`, `latency` and `throughput` by name, `cost` of our programs from the compiler,
      `share` of the machine's rates, `ratios` to the peers (their medians and their least over ours),
      `left_out`.
    """
    load_before = measure.load()
    network = model.network
    domain = model.domain(options.domain, video=True)
    size = options.input_size or domain.input_size
    frame = _noise(size, 0)
    picture = _noise(peers.ONNX_SIZE, 1)

    stream = _Streaming(network, domain, size)
    programs = {
        _STREAM: network.lower_stream(frame, domain, stream.state, size),
        _STATIC: network.lower_images(picture[None], domain),
    }
    costs = {name: measure.cost(lowered) for name, lowered in programs.items()}
    steps: dict[str, measure.Step] = {
        _MATMUL: measure.matmul_step(network.dtype),
        _BANDWIDTH: measure.bandwidth_step(),
        _STREAM: functools.partial(stream, frame),
        _STATIC: lambda: network.images(picture[None], domain).block_until_ready(),
    }
    left_out: dict[str, str] = {}
    differences: dict[str, float] = {}
    found: dict[str, tuple[str, np.ndarray, peers.Run]] = {}
    with peers.unpacked(options.wheel) as root:
        if options.peers:
            found, left_out = _find_peers(root, frame, picture)
        for name, (against, theirs, run) in found.items():
            shown = frame if against == _STREAM else picture
            ours = (
                _Streaming(network, domain, size)(shown)
                if against == _STREAM
                else np.asarray(network.images(shown[None], domain))[0]
            )
            if domain == DHF1K:
                differences[name] = float(f"{np.abs(ours - theirs).max():.2g}")
            steps[name] = functools.partial(run, normalize(jnp.asarray(shown)))
        seconds = measure.interleave(steps, options.repeats)

    latency = {name: measure.summary(taken) for name, taken in seconds.items()}
    rates = measure.rates(seconds[_MATMUL], seconds[_BANDWIDTH])
    return {
        "cost": costs,
        "differences": differences,
        "dtype": network.dtype,
        "input_sizes": {_STATIC: list(peers.ONNX_SIZE), _STREAM: list(size)},
        "latency": {name: latency[name] for name in latency if name not in (_MATMUL, _BANDWIDTH)},
        "left_out": left_out,
        "machine": measure.machine(load_before),
        "peak_mb": measure.peak_megabytes(),
        "rates": rates,
        "ratios": {
            name: {
                point: round(latency[name][f"{point}_ms"] / latency[against][f"{point}_ms"], 2)
                for point in ("median", "min")
            }
            for name, (against, _, _) in found.items()
        },
        "repeats": options.repeats,
        "share": {name: _share(costs[name], latency[name], rates) for name in costs},
        "throughput": _throughput(network, domain, size, options),
    }


class _Streaming:
    """Streams frames through the network, at the input size, as `Stream` does."""

    def __init__(self, network: Network, domain: Domain, size: Size):
        self._network, self._domain, self._size = network, domain, size
        self.state = network.zero_state(domain, domain.stride, size)
        self._count = 0

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        slot = self._count % self._domain.stride
        self._count += 1
        out, self.state = self._network.stream_step(frame, self._domain, self.state, slot, self._size)
        return np.asarray(out)


def _find_peers(
    root: Path | None, frame: np.ndarray, picture: np.ndarray
) -> tuple[dict[str, tuple[str, np.ndarray, peers.Run]], dict[str, str]]:
    """Name -> (which of our steps it stands against, its first result, how to run it); and what is not."""
    makers: dict[str, tuple[str, np.ndarray, Callable[[Path], peers.Run]]] = {
        "onnxruntime": (_STATIC, picture, peers.onnxruntime_run),
        "torch_eager": (_STREAM, frame, functools.partial(peers.torch_run, compiled=False)),
        "torch_compile": (_STREAM, frame, functools.partial(peers.torch_run, compiled=True)),
    }
    found, left_out = {}, {}
    for name, (against, shown, make) in makers.items():
        if root is None:
            left_out[name] = "the wheel with the public file and the original code is not at hand (--peers)"
            continue
        try:
            run = make(root)
            # The first call compiles; another program may come with the second, whose state is not zero.
            first = run(normalize(jnp.asarray(shown)))
            run(normalize(jnp.asarray(shown)))
        except Exception as error:  # whatever another's software does, ours is still to be measured
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            continue
        found[name] = (against, first, run)
    return found, left_out


def _throughput(
    network: Network, domain: Domain, size: Size, options: Options
) -> dict[str, dict[str, float]]:
    """Pictures a second by batch size, through all local devices, from the host's memory.

    On an accelerator also of pictures that are on it already, as those of a pipeline before it would be.
    """
    frames = np.stack([_noise(size, seed) for seed in range(max(options.batches))])
    places: dict[str, np.ndarray | jax.Array] = {"": frames}
    if jax.default_backend() != "cpu" and len(network.devices) == 1:
        places[", on the device"] = jnp.asarray(frames)
    batches = {
        f"{count}{place}": (count, at[:count]) for count in options.batches for place, at in places.items()
    }

    def run(batch: np.ndarray | jax.Array) -> None:
        network.images(batch, domain).block_until_ready()

    steps: dict[str, measure.Step] = {
        name: functools.partial(run, batch) for name, (_, batch) in batches.items()
    }
    seconds = measure.interleave(steps, max(3, options.repeats // 3))
    return {
        name: {
            "frames_per_s": round(batches[name][0] / float(np.median(taken)), 1),
            **measure.summary(taken),
        }
        for name, taken in seconds.items()
    }


def _share(cost: dict[str, float], row: dict[str, float], rates: dict[str, float]) -> dict[str, float]:
    """How much of the machine a program uses.

    `bound` is its median time over that of its FLOPs at the machine's median rate; `bound_min` the least
    time over that at the best rate, which what else runs on the machine disturbs less.
    """
    bound_ms = 1e3 * cost["gflop"] / rates["matmul_gflops"]
    least_ms = 1e3 * cost["gflop"] / rates["matmul_gflops_best"]
    return {
        "bound": round(row["median_ms"] / bound_ms, 3),
        "bound_min": round(row["min_ms"] / least_ms, 3),
        "matmul": round(bound_ms / row["median_ms"], 3),
        "memory": round(cost["megabytes"] / row["median_ms"] / rates["memory_gb_per_s"], 3),
    }


def _noise(size: Size, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def text(report: dict[str, Any]) -> Sequence[str]:
    """The report as lines for people."""
    machine, rates = report["machine"], report["rates"]
    lines = [
        f"{machine['device']} ({machine['processor']}, {machine['cores']} cores), {report['dtype']}: "
        f"matrix product {rates['matmul_gflops']} GFLOP/s, memory {rates['memory_gb_per_s']} GB/s",
        f"{'':14s} {'min':>9s} {'median':>9s} {'p90':>9s} {'p99':>9s} ms",
    ]
    for name, row in report["latency"].items():
        found = report["ratios"].get(name)
        ratio = f"   {found['median']:.2f} times ours (least {found['min']:.2f})" if found else ""
        points = " ".join(f"{row[p]:9.2f}" for p in ("min_ms", "median_ms", "p90_ms", "p99_ms"))
        lines.append(f"{name:14s} {points}{ratio}")
    for name, cost in report["cost"].items():
        lines.append(
            f"{name}: {cost['gflop']:.3f} GFLOP and {cost['megabytes']:.0f} MB a frame, "
            f"{cost['memory_mb']:.0f} MB held, compiled in {cost['compile_s']:.1f} s; "
            f"{report['share'][name]['bound']:.2f} times the bound of its FLOPs (least "
            f"{report['share'][name]['bound_min']:.2f})"
        )
    for count, row in report["throughput"].items():
        lines.append(f"batch {count}: {row['frames_per_s']:.1f} frames a second")
    lines.append(f"peak memory {report['peak_mb']:.0f} MB")
    if machine["busy"]:
        lines.append(
            f"the machine was busy: load {machine['load']} on {machine['cores']} cores before the start; "
            "an idle machine is faster"
        )
    lines += [f"left out: {name}: {why}" for name, why in report["left_out"].items()]
    return lines
