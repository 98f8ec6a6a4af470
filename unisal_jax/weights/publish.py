"""Saves weights in the layout of the Hugging Face Hub, and uploads them.

A repository, or a folder written by `save_folder`, contains `model.safetensors`, the only file that loading
reads; `config.json`, the model's config for readers and the Hub; and `README.md`, the model card.
"""

import json
import tempfile
from pathlib import Path
from types import ModuleType

from unisal_jax.errors import UnisalError
from unisal_jax.files import write_text
from unisal_jax.weights.contents import Weights
from unisal_jax.weights.hub import WEIGHTS_FILE, client, reason
from unisal_jax.weights.store import save_weights

CONFIG_FILE, CARD_FILE = "config.json", "README.md"


def save_folder(
    folder: str | Path, weights: Weights, licence: str = "apache-2.0", repository: str = "OWNER/NAME"
) -> None:
    """Writes a folder in the layout of the Hub, which `unisal_jax.load` can also read.

    Args:
      folder: the folder, created if necessary. An existing model card is not changed.
      weights: weights from `load_weights`.
      licence: licence for the card, by the Hub's names. The released weights, and weights trained from them,
        are under Apache 2.0.
      repository: repository on the Hub, for the examples in the card.

    Raises:
      UnisalError: a file cannot be written.
    """
    folder = Path(folder)
    save_weights(folder / WEIGHTS_FILE, weights)
    config = {"library_name": "unisal-jax", **json.loads(weights.config.to_json())}
    texts = {CONFIG_FILE: json.dumps(config, indent=2, sort_keys=True) + "\n"}
    if not (folder / CARD_FILE).exists():
        texts[CARD_FILE] = _card(weights, licence, repository)
    for name, text in texts.items():
        write_text(folder / name, text)


def push(
    repository: str,
    weights: Weights | str | Path,
    licence: str = "apache-2.0",
    private: bool = False,
    revision: str | None = None,
    message: str = "Weights of unisal-jax",
) -> str:
    """Uploads weights as one commit to a repository on the Hub, created if necessary.

    The Hub's client finds the access token (`hf auth login`, or `HF_TOKEN`). An existing model card in the
    repository is not changed, unless a folder with one is uploaded.

    Args:
      repository: owner/name.
      weights: weights from `load_weights`; or a folder written by `save_folder`, with a card that may have
        been edited, and with other files to upload.
      licence: licence for the card, see `save_folder`; ignored for a folder.
      private: whether a new repository is private.
      revision: an existing branch; None for the main one.
      message: the commit message.

    Returns:
      The commit's address.

    Raises:
      UnisalError: the folder contains no weights, the Hub is unreachable or rejects the upload, or the Hub's
        client is not installed.
    """
    hub = client(repository)
    if isinstance(weights, (str, Path)):
        if not (Path(weights) / WEIGHTS_FILE).is_file():
            raise UnisalError(f"{weights}: not a folder with {WEIGHTS_FILE}")
        return _upload(hub, repository, Path(weights), private, revision, message, keep_card=False)
    with tempfile.TemporaryDirectory(prefix="unisal-") as folder:
        save_folder(folder, weights, licence, repository)
        return _upload(hub, repository, Path(folder), private, revision, message, keep_card=True)


def _upload(
    hub: ModuleType,
    repository: str,
    folder: Path,
    private: bool,
    revision: str | None,
    message: str,
    keep_card: bool,
) -> str:
    api = hub.HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        has_card = keep_card and api.file_exists(repository, CARD_FILE, revision=revision)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            commit_message=message,
            ignore_patterns=[".*", *([CARD_FILE] if has_card else [])],
        )
    except Exception as error:  # as in `hub.download`
        raise UnisalError(f"{repository}: cannot be uploaded ({reason(error)})") from error
    return str(commit.commit_url)


def _card(weights: Weights, licence: str, repository: str) -> str:
    config = weights.config
    domain = weights.domain(None, video=False).name
    datasets = "\n".join(f"- {domain.name}" for domain in config.domains)
    rows = "\n".join(
        f"| `{domain.name}` | {'images' if domain.static else 'video'} | "
        f"{domain.input_size[0]}x{domain.input_size[1]} | {domain.stride} |"
        for domain in config.domains
    )
    told = [
        f"- `{domain.name}`, {key}: {' '.join(text.split())}"
        for domain in config.domains
        for key, text in weights.about(domain).items()
    ]
    if told:
        rows = "\n".join([rows, "", *told])
    source = weights.metadata.get("source")
    return f"""---
license: {licence}
library_name: unisal-jax
pipeline_tag: image-to-image
datasets:
{datasets}
tags:
- saliency-prediction
- eye-tracking
- jax
- flax
---

# Where people look: UNISAL

Weights of UNISAL (Droste, Jiao, Noble, ECCV 2020, https://arxiv.org/abs/2003.05477) for unisal-jax.
They predict where people look in images and video, as a density over pixels.

```python
import unisal_jax as unisal

model = unisal.SaliencyModel.from_pretrained("{repository}")  # requires huggingface_hub
density = model.predict("photo.jpg", domain="{domain}")  # float32 [height, width], sums to 1
```

## Domains

| name | input | input size | frame stride |
|---|---|---|---|
{rows}

## Training

{f"Made from `{source}`." if source else "Not stated yet: data, hardware, hours."}

## Scores

Not stated yet. `unisal evaluate --weights hf://{repository} --data DIR --domain NAME` prints them, with the
name of the protocol.

## Licence

{licence}
"""
