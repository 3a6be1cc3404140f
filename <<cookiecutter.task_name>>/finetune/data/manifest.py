"""What step 02 writes down about the converted data, in the manifest beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from finetune import provenance
from finetune.data.check_results import SplitCounts


class Balance(Struct, frozen=True, omit_defaults=True):
    """How the training split was balanced."""

    policy: Literal["none", "oversample", "weights"]
    copies: dict[str, int] | None = None
    """Rows that were added, by answer; of oversample only."""
    class_weights: dict[str, float] | None = None
    """Of weights only."""


class DataFacts(Struct, frozen=True):
    """Rows and digests of the three splits."""

    task_type: str
    rows: dict[str, int]
    """By split, before balancing."""
    classes: dict[str, SplitCounts]
    train_sha256: str
    valid_sha256: str
    test_sha256: str
    balance: Balance


class DataManifest(Struct, frozen=True):
    """As much of the manifest as a reader of the data asks for."""

    inputs: dict[str, str]
    facts: DataFacts


def read_data_manifest(path: Path) -> DataManifest | None:
    """The manifest of the converted data; None where there is none or it is damaged (both mean: not done)."""
    try:
        return msgspec.convert(provenance.read_manifest(path), DataManifest | None, from_attributes=True)
    except msgspec.ValidationError:
        return None
