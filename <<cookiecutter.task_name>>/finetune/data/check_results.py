"""What checking the rows comes to, for the plan, the manifest and the report: rows of a class, the state of a check."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from finetune.data.splits import SPLITS

Count = Annotated[int, Meta(ge=0, le=10**15)]
DataPolicy = Literal["leave_out", "warn", "error", "ignore"]


class SplitCounts(Struct, frozen=True):
    """Rows of a class, and how many of them each split gets."""

    rows: Count
    train: Count
    valid: Count
    test: Count

    @property
    def left_out(self) -> int:
        return max(0, self.rows - sum(getattr(self, split) for split in SPLITS))


class RowCheck(Struct, frozen=True, omit_defaults=True):
    """One check beyond the task definition: whether it was done, else why not, and what it counted."""

    status: Literal["done", "skipped"]
    policy: DataPolicy | None = None
    reason: str | None = None
    names: Count | None = None
    template_tokens: Count | None = None
    rows: Count | None = None
    texts: Count | None = None
    limit: Count | None = None
    template: Count | None = None
    tokenised: Count | None = None
    over: Count | None = None
    longest: Count | None = None
