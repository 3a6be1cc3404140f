"""What checking the rows comes to, for the plan, the manifest and the report: rows of a class, the state of a check."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=10**15)]
DataPolicy = Literal["leave_out", "warn", "error", "ignore"]


class SplitCounts(Struct, frozen=True):
    """The rows of a class, or all: how many each split gets, and how many are left out of it."""

    rows: Count
    train: Count
    valid: Count
    test: Count
    left_train: Count = 0
    left_valid: Count = 0

    @property
    def left_out(self) -> int:
        return self.left_train + self.left_valid


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
