"""Whether a job without a login can get the base model, asked before a GPU is: the Hub says to anybody what is gated.

Two ways lead a gated model to the GPU, and the repository variable GATED_BASE says which one is prepared: `cached` (the
runner has it in its Hub cache) or `token` (the secret HF_READ_TOKEN of the environment gpu-base). docs/models.md
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request

from finetune.config.project import Project
from finetune.errors import FinetuneError

VARIABLE, SECRET, ENVIRONMENT = "GATED_BASE", "HF_READ_TOKEN", "gpu-base"
WAYS = ("cached", "token")
_SECONDS = 10
_BYTES = 4 * 2**20
_FIX = (
    f"put it into the runner's Hub cache and set the repository variable {VARIABLE} to cached, or store a read token "
    f"as {SECRET} in the environment {ENVIRONMENT} and set {VARIABLE} to token: docs/models.md, Gated models"
)


def closed_to_strangers(project: Project) -> str:
    """Why the Hub gives the base model to nobody without login; empty where it does, or cannot be asked."""
    base = project.training.base_model
    if base.id.startswith("models/") or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return ""
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    if not endpoint.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        return ""
    try:
        with urllib.request.urlopen(f"{endpoint}/api/models/{base.id}", timeout=_SECONDS) as reply:
            answer = json.loads(reply.read(_BYTES))
    except urllib.error.HTTPError as refusal:
        closed = refusal.code in (401, 403, 404)
        return f"the Hub shows {base.id} to nobody without login: private, or there is none" if closed else ""
    except (OSError, ValueError, RecursionError):
        return ""
    gated = isinstance(answer, dict) and answer.get("gated")
    return f"{base.id} is gated" if gated else ""


def check_way(project: Project, way: str) -> None:
    """Raise FinetuneError (E303) for a closed base model that no way leads to, or a `way` that is none."""
    if way not in ("", *WAYS):
        fix = f"set it to {' or '.join(WAYS)}, or delete it"
        raise FinetuneError(f"the variable {VARIABLE} is {way[:40]!r}", fix, "E303")
    if not way and (closed := closed_to_strangers(project)):
        raise FinetuneError(f"{closed}, and the GPU job has no login", _FIX, "E303")
