"""receipts.json: what step 08 put into each repository on the Hub; the release and the checklist read it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from finetune.paths import Paths
from finetune.provenance import Hex64

RECEIPTS = "receipts.json"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PublishedFile(_Closed):
    bytes: int
    sha256: Hex64


class Receipt(_Closed):
    """Of one repository."""

    kind: str
    repo: str
    commit: str
    tag: str
    url: str
    files: dict[str, PublishedFile]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())


class Receipts(_Closed):
    """The whole of receipts.json."""

    version: str
    tag: str
    digest: str
    """Of the plan that was carried out."""
    endpoint: str
    repositories: tuple[Receipt, ...]

    def of(self, kind: str) -> Receipt | None:
        """Receipt of adapter, gguf or merged."""
        return next((receipt for receipt in self.repositories if receipt.kind == kind), None)


def read_receipts(paths: Paths) -> Receipts | None:
    """The receipts that lie here; None where there are none, or they are damaged."""
    try:
        return Receipts.model_validate_json((paths.publish_plan / RECEIPTS).read_bytes())
    except (OSError, ValueError):
        return None
