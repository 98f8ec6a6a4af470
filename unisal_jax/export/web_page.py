"""`unisal export --format web`: a folder that any static host serves, and that runs the model in the browser.

The page in `web/` is served as it is, without a build step. `site.json` tells it about the model.
"""

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unisal_jax.domains import TRAINED_FPS, Domain, aspect_sizes
from unisal_jax.export import onnx_model, web_runtime
from unisal_jax.export.signature import Signature
from unisal_jax.files import atomic_folder, check_new_folder, keep_inputs, write_text
from unisal_jax.inference.fold import fold
from unisal_jax.media.overlay import heat_table
from unisal_jax.samples import photograph_path
from unisal_jax.version import __version__
from unisal_jax.weights.installed import with_domain
from unisal_jax.weights.sources import files_of
from unisal_jax.weights.store import Weights, load_weights

_MODELS, _RUNTIME, _SITE, _SAMPLE = "models", "runtime", "site.json", "sample.jpg"
_IMAGE, _VIDEO = "image.onnx", "video.onnx"
_RUNTIME_LICENCE = "LICENSE.onnxruntime-web.txt"
_CHECKED_SIZE = (64, 96)
_CHECKED_EVERY = 16  # rows and columns


class WebExport(NamedTuple):
    """What `export_web` wrote.

    Attributes:
      domains: the domains for images and for films.
      size: size of the folder, in bytes.
      first_load: bytes that a browser without WebGPU loads before its first image.
      difference: the largest difference of a model from the plain network in log-density; None if unchecked.
    """

    domains: tuple[str, str]
    size: int
    first_load: int
    difference: float | None


def export_web(
    weights: str,
    out: Path,
    domain: str | None = None,
    runtime: Path | None = None,
    checked: bool = True,
) -> WebExport:
    """Writes the folder of the page, completely or not at all.

    Args:
      weights: as for `unisal_jax.load`.
      out: the folder, which must be missing or empty.
      domain: whose parameters to use; None for the usual ones of images and of films.
      runtime: the tarball of `web_runtime.REQUIREMENT`; None for the cached one, or to download it with npm.
      checked: compare each model with the plain network, which requires JAX, and write its card beside it.

    Raises:
      UnisalError: `out` exists, the runtime is unavailable, or as for `run.export`.
    """
    check_new_folder(out)
    keep_inputs([out], files_of(weights))
    tarball = web_runtime.get_tarball(runtime)
    with atomic_folder(out) as folder:
        return _write(weights, folder, domain, tarball, checked)


def _write(weights: str, folder: Path, domain: str | None, tarball: Path, checked: bool) -> WebExport:
    _copy_page(folder)
    (folder / _RUNTIME).mkdir()
    web_runtime.extract(tarball, folder / _RUNTIME)
    (folder / _RUNTIME_LICENCE).rename(folder / _RUNTIME / "LICENSE.txt")

    loaded = load_weights(weights)
    loaded = loaded if domain is None else with_domain(loaded, domain)
    of_images, of_films = (loaded.domain(domain, video=video) for video in (False, True))
    recurrent = loaded.config.has_recurrence(of_films.static)
    (folder / _MODELS).mkdir()
    differences = []
    for name, of, streaming in ((_IMAGE, of_images, False), (_VIDEO, of_films, True))[: 1 + recurrent]:
        if checked:
            differences.append(_export(weights, folder / _MODELS / name, domain, streaming))
        else:
            _serialize(loaded, folder / _MODELS / name, of, streaming)
    video = _VIDEO if recurrent else _IMAGE
    colours, opacities = heat_table()
    site = {
        "check": _check(folder / _MODELS / _IMAGE),
        "frames_per_second": TRAINED_FPS,
        "heat": {"colours": colours.tolist(), "weights": opacities.tolist()},
        "models": {
            "image": {
                "domain": of_images.name,
                "file": f"{_MODELS}/{_IMAGE}",
                "recurrent": False,
                "trained": None,
            },
            "video": {
                "domain": of_films.name,
                "file": f"{_MODELS}/{video}",
                "recurrent": recurrent,
                "trained": _trained(of_films),
            },
        },
        "runtime": web_runtime.REQUIREMENT,
        "sizes": aspect_sizes(),
        "version": __version__,
        "weights": {"name": Path(weights).name, "sha256": loaded.sha256, "sha256_of": "tensors"},
    }
    write_text(folder / _SITE, json.dumps(site, sort_keys=True) + "\n")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return WebExport(
        (of_images.name, of_films.name),
        sum(path.stat().st_size for path in files),
        sum(path.stat().st_size for path in files if _is_loaded_first(path)),
        max(differences) if checked else None,
    )


def _is_loaded_first(path: Path) -> bool:
    """Whether a browser without WebGPU loads the file before its first image."""
    is_card = path.parent.name == _MODELS and path.suffix == ".json"
    return (
        not is_card
        and path.suffix != ".txt"
        and path.name not in (_VIDEO, _SAMPLE, *web_runtime.WEBGPU_FILES)
    )


def _export(weights: str, out: Path, domain: str | None, streaming: bool) -> float:
    """Writes a model and its card, and returns its difference from the plain network."""
    from unisal_jax.export.run import ExportOptions, export  # imports JAX

    options = ExportOptions("onnx", domain, "any", streaming=streaming, uint8=True)
    return export(weights, out, options)["difference"]


def _serialize(loaded: Weights, out: Path, domain: Domain, streaming: bool) -> None:
    """Writes the same model, unchecked and without a card."""
    signature = Signature(domain, None, 1, streaming, uint8=True, channels_first=True)
    out.write_bytes(onnx_model.serialize(fold(loaded.variables, loaded.config, domain), signature))


def _copy_page(folder: Path) -> None:
    for source in resources.files(__package__).joinpath("web").iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    shutil.copyfile(photograph_path(), folder / _SAMPLE)


def _trained(domain: Domain) -> dict[str, Any] | None:
    """The input size of a domain's films, and the frame size that it applies to; None for a static domain."""
    return None if domain.static else {"frame": domain.video_frame_size, "input": domain.input_size}


def _check(model: Path) -> dict[str, Any]:
    """The log-density at some pixels of a synthetic image.

    worker.js makes the same image, and uses WebGPU only if its values match these.
    """
    height, width = _CHECKED_SIZE
    y, x, c = np.ogrid[:height, :width, :3]
    image = ((3 * x + 5 * y + 85 * c) % 256).astype(np.uint8)
    (density,) = onnx_model.loaded(model.read_bytes())(image[None])
    rows, columns = (np.arange(0, side, _CHECKED_EVERY) for side in _CHECKED_SIZE)
    return {
        "columns": columns.tolist(),
        "height": height,
        "log_density": np.log(density[0][rows[:, None], columns]).round(4).tolist(),
        "rows": rows.tolist(),
        "width": width,
    }
