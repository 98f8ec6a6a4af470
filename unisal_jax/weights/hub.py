"""Weights on the Hugging Face Hub, by their address; `publish` puts them there."""

import os
import re
from pathlib import Path
from types import ModuleType

from unisal_jax.errors import UnisalError
from unisal_jax.packages import install_command

SCHEME = "hf://"
WEIGHTS_FILE = "model.safetensors"
"""What loading reads of a repository, and of a folder of `publish.save_folder`."""
_ADDRESS = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?")


def download(address: str) -> Path:
    """The local path of a file on the Hub, fetched once into the Hub's own cache.

    Args:
      address: `hf://owner/name`, with `@revision` (a branch, tag or commit; a slash in it as %2F) and
        `/file` where they are not the main branch and `model.safetensors`.

    Raises:
      UnisalError: no such address, repository, revision or file; not in the cache while the Hub cannot be
        reached, or is not to be (`HF_HUB_OFFLINE=1`, `UNISAL_OFFLINE=1`); or the extra `hub` is missing.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UnisalError(f"{address}: not of the form hf://owner/name[@revision][/file]")
    hub = client(address)
    revision = match["revision"] and match["revision"].replace("%2F", "/").replace("%2f", "/")
    try:
        return Path(
            hub.hf_hub_download(
                match["repo"],
                match["file"] or WEIGHTS_FILE,
                revision=revision,
                local_files_only=os.environ.get("UNISAL_OFFLINE", "0") not in ("", "0"),
            )
        )
    except Exception as error:  # the client's errors, and its transport's, have no base of their own
        raise UnisalError(f"{address}: {reason(error)}") from error


def client(what: str) -> ModuleType:
    """The Hub's client; `what` needs it, for the message where it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UnisalError(
            f"{what}: requires huggingface_hub; install it with: {install_command('hub')}"
        ) from error
    return huggingface_hub


def reason(error: Exception) -> str:
    """What went wrong, in part of a line; the client's own texts have several."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        return "not in the local cache, and the Hub cannot be reached or is not to be"
    for kind, text in (
        (errors.RepositoryNotFoundError, "no such repository on the Hub, or no access to it"),
        (errors.RevisionNotFoundError, "the repository has no such revision"),
        (errors.EntryNotFoundError, "the repository has no such file"),
    ):
        if isinstance(error, kind):
            return text
    return " ".join(str(error).split())[:200] or type(error).__name__
