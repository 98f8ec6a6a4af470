"""Weights as the Hugging Face Hub has them: folders to save and to push.

A repository, and a folder of `save_folder`, holds `model.safetensors`, which is all that loading reads,
`config.json`, the network's fields for people and for the Hub, and `README.md`, the model card.
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


def save_folder(folder: str | Path, weights: Weights, licence: str = "apache-2.0") -> None:
    """Writes a folder as the Hub has it, which `unisal_jax.load` also reads from the disk.

    Args:
      folder: made where it is not there. A model card that lies in it is kept as it is.
      weights: as `load_weights` returns them.
      licence: for the card, by the Hub's names; the released weights, and what was trained from them, come
        under Apache 2.0.

    Raises:
      UnisalError: a file cannot be written.
    """
    folder = Path(folder)
    save_weights(folder / WEIGHTS_FILE, weights)
    config = {"library_name": "unisal-jax", **json.loads(weights.config.to_json())}
    texts = {CONFIG_FILE: json.dumps(config, indent=2, sort_keys=True) + "\n"}
    if not (folder / CARD_FILE).exists():
        texts[CARD_FILE] = _card(weights, licence)
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
    """Uploads weights as one commit to a repository on the Hub, which is made where there is none.

    The Hub's client finds the access token itself (`hf auth login`, or `HF_TOKEN`). A model card that the
    repository has is kept as it is, unless a folder with one is pushed.

    Args:
      repository: owner/name.
      weights: as `load_weights` returns them; or a folder of `save_folder`, whose card may have been written
        further, and whose other files go along.
      licence: for the card, see `save_folder`; not used where a folder is pushed.
      private: of a repository that is made.
      revision: an existing branch; None for the main one.
      message: of the commit.

    Returns:
      The commit's address.

    Raises:
      UnisalError: the folder holds no weights, the Hub refuses or cannot be reached, or the extra `hub` is
        missing.
    """
    hub = client(repository)
    if isinstance(weights, (str, Path)):
        if not (Path(weights) / WEIGHTS_FILE).is_file():
            raise UnisalError(f"{weights}: not a folder with {WEIGHTS_FILE}")
        return _upload(hub, repository, Path(weights), private, revision, message, keep_card=False)
    with tempfile.TemporaryDirectory(prefix="unisal-") as folder:
        save_folder(folder, weights, licence)
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
        raise UnisalError(f"{repository}: cannot be pushed ({reason(error)})") from error
    return str(commit.commit_url)


def _card(weights: Weights, licence: str) -> str:
    config = weights.config
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

model = unisal.load("hf://OWNER/NAME")
density = model.predict(image, domain="{config.domains[0].name}")  # uint8 RGB [H, W, 3] -> [H, W], sums to 1
```

## Domains

| name | of | input size | stride |
|---|---|---|---|
{rows}

## Training

{f"Made from `{source}`." if source else "Not stated yet: data, hardware, hours."}

## Scores

Not stated yet. `unisal evaluate --weights hf://OWNER/NAME --data DIR --domain NAME` prints them, with the
protocol by name.

## Licence

{licence}
"""
