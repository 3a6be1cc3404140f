"""A base model from the Hub: the cached copy where it is whole, else the network, and what is said when it refuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from finetune.console import say
from finetune.errors import StorageFault
from finetune.training.model_files import faults

_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]
_HUB_PROBE_SECONDS = 5
_NETWORK = "check the network (a proxy: HTTPS_PROXY, a mirror: HF_ENDPOINT) and run again"


def download(model_id: str, revision: str, patterns: list[str] = _PATTERNS, folder: Path | None = None) -> str:
    """The snapshot folder of `model_id`, whose name is the commit; or `folder`, after those files were put there.

    Raises StorageFault (E972 out of reach, E973 refused, E978 not there).
    """
    from huggingface_hub import constants, errors, snapshot_download

    if folder is None:
        try:
            kept = snapshot_download(model_id, revision=revision, allow_patterns=patterns, local_files_only=True)
            if not faults(Path(kept)):  # the cache knows a folder as soon as a download has begun
                return kept
            say(f"  {model_id} was downloaded in part only: fetching the rest")
        except errors.LocalEntryNotFoundError:
            pass
    unreachable = f"cannot reach the Hub for {model_id}"
    if constants.HF_HUB_OFFLINE:
        raise StorageFault(unreachable, "unset HF_HUB_OFFLINE or download the model first", code="E972")
    if not _hub_answers(model_id, revision):
        raise StorageFault(unreachable, _NETWORK, code="E972")
    options: dict[str, Any] = {} if folder is None else {"tqdm_class": _no_bars()}
    try:
        return snapshot_download(
            model_id,
            revision=revision,
            allow_patterns=patterns,
            local_dir=folder,
            etag_timeout=_HUB_PROBE_SECONDS,
            **options,
        )
    except errors.GatedRepoError as error:
        raise gated_fault(model_id, error.response.status_code) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        fix = "check base_model.id and base_model.revision; a private model needs HF_TOKEN"
        raise StorageFault(f"the Hub has no {model_id} at {revision[:12]}", fix, code="E978") from None
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise StorageFault(f"{unreachable} ({type(error).__name__})", _NETWORK, code="E972") from None


def _no_bars() -> type:
    """For a few small files: the client's bars would be longer than its work."""
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

    return Silent


def gated_fault(model_id: str, status: int) -> StorageFault:
    """What is said when a gated model is refused (E973); on a machine of GitHub Actions with the two ways to get it."""
    page = f"https://huggingface.co/{model_id}"
    right = "the right to read gated repositories"
    why = "this login has no access yet" if status == 403 else "nobody is logged in here"
    if os.environ.get("GITHUB_ACTIONS") == "true":
        fix = (
            "put the model into the runner's cache (HF_HOME), or store a read token as HF_READ_TOKEN in the "
            "environment gpu-base: docs/models.md, Gated models"
        )
    elif status == 403:
        fix = f"ask for it on {page} and wait for the yes; a fine-grained token has to have {right}"
    else:
        fix = f"accept its terms on {page}, then log in: hf auth login, or HF_TOKEN with {right}"
    return StorageFault(f"{model_id} is gated: {why}", fix, code="E973")


def _hub_answers(model_id: str, revision: str) -> bool:
    """Ask once, briefly: the download itself tries for half a minute, and prints what it thinks of each try."""
    import httpx2
    from huggingface_hub import HfApi, errors

    try:
        HfApi().repo_info(model_id, revision=revision, timeout=_HUB_PROBE_SECONDS)
    except errors.HfHubHTTPError:
        return True  # it answers; what it has against us is the download's to say
    except (httpx2.TransportError, OSError):
        return False
    return True
