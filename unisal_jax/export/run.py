"""`unisal export`: writes an artifact and, next to it, a card that describes it."""

import dataclasses
import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any, Literal

import jax

from unisal_jax.backend import start_jax
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.export import check, onnx_model, stablehlo, tflite
from unisal_jax.export.signature import Signature
from unisal_jax.files import atomic_path, keep_inputs, text_file, write_errors
from unisal_jax.inference.fold import fold
from unisal_jax.version import __version__
from unisal_jax.weights.fetch import RELEASED
from unisal_jax.weights.installed import find, with_domain
from unisal_jax.weights.packs import Pack
from unisal_jax.weights.sources import files_of, resolve
from unisal_jax.weights.store import Weights, load_weights

Format = Literal["onnx", "stablehlo", "tflite"]
FORMATS = {"onnx": onnx_model, "stablehlo": stablehlo, "tflite": tflite}
_VERSIONS = {
    "onnx": ("jax", "numpy", "onnx", "onnxruntime"),
    "stablehlo": ("flatbuffers", "jax", "jaxlib", "numpy"),
    "tflite": ("ai-edge-litert", "jax", "jaxlib", "litert-converter", "numpy"),
}


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What to export; the fields correspond to the flags of `unisal export`."""

    format: Format
    domain: str | None = None
    input_size: Size | Literal["any"] | None = None
    batch: int | Literal["any"] = 1
    streaming: bool = False
    uint8: bool = False


def export(weights: str, out: Path, options: ExportOptions) -> dict[str, Any]:
    """Exports a network, after checking that its output agrees with the plain network's.

    Args:
      weights: as for `unisal_jax.load`.
      out: path of the artifact; the card is written to `card_path(out)`.
      options: what to export.

    Returns:
      The card, with `difference`: the largest difference in log-density from the plain network.

    Raises:
      UnisalError: the artifact or its card would overwrite the weights, an option cannot be exported, a
        package is missing, or the artifact differs from the network. Nothing is written in these cases.
    """
    keep_inputs([out, card_path(out)], files_of(weights))
    start_jax()
    whole = load_weights(weights)
    loaded = whole if options.domain is None else with_domain(whole, options.domain)
    signature = _signature(loaded, options)
    module = FORMATS[options.format]
    artifact = module.serialize(fold(loaded.variables, loaded.config, signature.domain), signature)
    call = module.loaded(artifact)
    # On the CPU, which uses full float32 precision; other devices may round the factors of products.
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        expected = check.vector(loaded, signature)
        apart = check.difference(call, signature, expected)
    if not apart.tolerable:
        raise UnisalError(
            f"{out}: not written: it differs from the network by {apart.log_density:.2g} in log-density"
            + (f", {apart.state:.2g} in state" if signature.streaming else "")
        )
    card = {
        "artifact": {
            "bytes": len(artifact),
            "file": out.name,
            "format": options.format,
            "sha256": hashlib.sha256(artifact).hexdigest(),
            **module.FACTS,
        },
        "batch": signature.batch or "any",
        "domain": signature.domain.name,
        **({} if loaded is whole else {"domain_pack": _describe(find(signature.domain.name))}),
        **({"frame_stride": signature.domain.stride} if signature.streaming else {}),
        "input_size": signature.input_size or "any multiples of 32",
        "licence": "Apache-2.0",
        **signature.describe(),
        "test_vector": check.describe(expected),
        "versions": {
            "unisal-jax": __version__,
            **{name: importlib.metadata.version(name) for name in _VERSIONS[options.format]},
        },
        "weights": _identity(weights, loaded),
    }
    _write(out, artifact, card)
    return {**card, "difference": apart.log_density}


def card_path(out: Path) -> Path:
    """Path of the card of an artifact: its own name with `.json` appended."""
    return out.with_name(f"{out.name}.json")


def _signature(weights: Weights, options: ExportOptions) -> Signature:
    domain = weights.domain(options.domain, video=options.streaming)
    if options.streaming and not weights.config.has_recurrence(domain.static):
        raise UnisalError(f"--streaming: domain {domain.name} bypasses the recurrence and has no state")
    return Signature(
        domain,
        None if options.input_size == "any" else options.input_size or domain.input_size,
        None if options.batch == "any" else options.batch,
        options.streaming,
        options.uint8,
        channels_first=options.format == "onnx",
    )


def _identity(source: str, weights: Weights) -> dict[str, str]:
    resolved = resolve(source)
    if resolved.kind == "release":
        return {"name": source, "sha256": RELEASED[source].sha256, "sha256_of": "released file"}
    if resolved.kind == "file":
        digest, of = hashlib.sha256(resolved.path.read_bytes()).hexdigest(), "file"
    else:  # a checkpoint is a folder of many files
        digest, of = weights.sha256, "tensors"
    return {"name": Path(source).name, "sha256": digest, "sha256_of": of}


def _describe(pack: Pack | None) -> dict[str, Any]:
    return {} if pack is None else {"about": pack.about, "sha256": pack.sha256, "sha256_of": "tensors"}


def _write(out: Path, artifact: bytes, card: dict[str, Any]) -> None:
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    # Write both or neither.
    with text_file(card_path(out)) as card_file, atomic_path(out) as temporary:
        temporary.write_bytes(artifact)
        card_file.write(json.dumps(card, indent=1, sort_keys=True) + "\n")
