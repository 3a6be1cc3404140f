"""The artifact `adapter-FINGERPRINT` as a folder: which files it may hold, and the check of every one of them.

- adapter/…: models/adapter, that is safetensors, its configuration, training log, manifest
- results/evaluation_report.{yaml,md,html}
- results/predictions/…: answers of adapter and baseline, each with its manifest
- data/manifest.json: of the data it was trained on
- run.json: who made it of what, and the sha256 of every file; written last
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from finetune.config.base import Section
from finetune.errors import StorageFault
from finetune.export.safety import refuse_code
from finetune.github.train.frozen import Commit
from finetune.github.train.strict_json import Unreadable, read_json
from finetune.provenance import FileFacts, Hex64
from finetune.sealed import deviations

RUN = "run.json"
ADAPTER, RESULTS, PREDICTIONS, DATA = "adapter", "results", "results/predictions", "data"
REPORT = f"{RESULTS}/evaluation_report.yaml"
REQUIRED = (
    f"{ADAPTER}/adapter_model.safetensors",
    f"{ADAPTER}/adapter_config.json",
    f"{ADAPTER}/manifest.json",
    REPORT,
    f"{PREDICTIONS}/adapter.jsonl",
    f"{PREDICTIONS}/adapter.manifest.json",
    f"{DATA}/manifest.json",
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
# No pickle, no code, no folder of its own: what is not listed here has no place in the artifact.
_ALLOWED = re.compile(
    rf"{ADAPTER}/{_NAME}\.(safetensors|json|jsonl)"
    rf"|{RESULTS}/evaluation_report\.(yaml|md|html)"
    rf"|{PREDICTIONS}/{_NAME}\.(jsonl|json)"
    rf"|{DATA}/manifest\.json"
)
MAX_FILES = 100
MOST = 2 * MAX_FILES
"""Files that are looked at; a flood of them is refused without a look at each."""
MAX_TENSORS = 4 << 30
"""Bytes of one safetensors file; a LoRA adapter of a 14B model has well below one GB."""
MAX_TEXT = 256 << 20
MAX_RUN = 1 << 20
_DAMAGED = "run the training again; an artifact that was changed on its way is never used"

Number = Annotated[int, Field(ge=1, le=10**18)]


class PackedFile(FileFacts):
    bytes: Annotated[int, Field(ge=0, le=MAX_TENSORS)]


class RunFacts(Section):
    """The whole of run.json."""

    version: Annotated[int, Field(ge=1, le=1)]
    fingerprint: Hex64
    digest: Hex64
    """sha256 of the frozen input's manifest"""
    sha: Commit
    pr: Number | None
    repository: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}$")]
    run_id: Number
    run_attempt: Number
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    files: Annotated[dict[str, PackedFile], Field(max_length=MAX_FILES)]


def read_adapter(folder: Path, fingerprint: str) -> RunFacts:
    """run.json of an adapter artifact whose every file is allowed, regular and as run.json names it.

    Raises StorageFault: E631 for what is missing, extra, changed, too large or no regular file (all of it at once),
    E632 for another fingerprint; FinetuneError E510 for a configuration that would load code.
    """
    try:
        run = RunFacts.model_validate(read_json(folder / RUN, MAX_RUN))
    except (Unreadable, ValidationError) as error:
        why = str(error) if isinstance(error, Unreadable) else "malformed"
        raise StorageFault(f"the adapter artifact's {RUN} is unusable: {why}", _DAMAGED, "E631") from None
    if run.fingerprint != fingerprint:
        raise StorageFault("the adapter artifact is of another fingerprint", _DAMAGED, "E632")
    if faults := _faults(folder, run.files):
        more = f" and {len(faults) - 10} more" if len(faults) > 10 else ""
        listed = "; ".join(faults[:10]) + more
        raise StorageFault(f"the adapter artifact is not what was packed: {listed}", _DAMAGED, "E631")
    refuse_code(folder / ADAPTER, "the adapter artifact")
    return run


def is_allowed(name: str) -> bool:
    """Whether a file of this posix path may be part of the artifact."""
    return bool(_ALLOWED.fullmatch(name))


def limit_of(name: str) -> int:
    """Largest size in bytes of the file `name`."""
    return MAX_TENSORS if name.endswith(".safetensors") else MAX_TEXT


def _faults(folder: Path, listed: dict[str, PackedFile]) -> list[str]:
    faults = [f"{_escaped(name)} is not allowed in it" for name in listed if not is_allowed(name)]
    faults += [f"{name} is missing in {RUN}" for name in REQUIRED if name not in listed]
    phrases = {
        "unsafe": "has an unsafe name",
        "unlisted": f"is not in {RUN}",
        "irregular": "is not a regular file",
        "missing": "is missing",
        "changed": "was changed",
        "flood": f"holds more than {MOST} files",
    }
    for deviation in deviations(folder, listed, beside=[RUN], most=MOST, limit=limit_of):
        state = f"has {deviation.bytes:,} bytes" if deviation.kind == "size" else phrases[deviation.kind]
        faults.append(f"{_escaped(deviation.name)} {state}")
    return faults


def _escaped(name: str) -> str:
    return ascii(name)[1:-1][:80]
