"""Downloads weights from the Hugging Face Hub; `publish` uploads them."""

import re
from pathlib import Path
from types import ModuleType

from unisal_jax.errors import UnisalError
from unisal_jax.packages import install_command
from unisal_jax.weights.fetch import is_offline

SCHEME = "hf://"
WEIGHTS_FILE = "model.safetensors"
"""The file with the weights in a repository, and in a folder written by `publish.save_folder`."""
_ADDRESS = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?")


def is_name(text: str) -> bool:
    """Whether a text has the form of a repository's name, owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text) is not None


def download(address: str) -> Path:
    """The local path of a file on the Hub, downloaded once into the Hub's own cache.

    Args:
      address: `hf://owner/name[@revision][/file]`. The revision is a branch, tag or commit, with slashes as
        %2F (default: the main branch); the default file is `model.safetensors`.

    Raises:
      UnisalError: no such address, repository, revision or file; it is not in the cache and the Hub is
        unreachable or offline mode is on (`HF_HUB_OFFLINE=1`, `UNISAL_OFFLINE=1`); or the Hub's client is not
        installed.
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
                local_files_only=is_offline(),
            )
        )
    except Exception as error:  # the errors of the client and its transport have no common base class
        raise UnisalError(f"{address}: {reason(error)}") from error


def client(what: str) -> ModuleType:
    """Imports the Hub's client; `what` requires it, for the message if it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UnisalError(
            f"{what}: requires huggingface_hub; install it with: {install_command('hub')}"
        ) from error
    return huggingface_hub


def reason(error: Exception) -> str:
    """A short description of an error; the client's own messages have several lines."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        return "not in the local cache, and the Hub is unreachable, or offline mode is on"
    for kind, text in (
        (errors.RepositoryNotFoundError, "no such repository on the Hub, or no access to it"),
        (errors.RevisionNotFoundError, "the repository has no such revision"),
        (errors.EntryNotFoundError, "the repository has no such file"),
    ):
        if isinstance(error, kind):
            return text
    return " ".join(str(error).split())[:200] or type(error).__name__
