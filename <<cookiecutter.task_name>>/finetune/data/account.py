"""What is left out of training, by split and class, and from which share on that is said aloud or refused.

Near-duplicates of a later split are what is left out: exact copies stay, balancing adds rows, a row that is too long is
an error. A few such rows are a fair test's price. Where they are many, the rows have their wording in common, as forms
that are filled in again and again, and what remains is another data set than the one that was collected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from finetune.data.check_results import SplitCounts
from finetune.data.splits import SPLITS, Split
from finetune.data.text_rules import shown

WARN_FROM = 0.1
"""Share of the rows for training and validation, of all or of a class."""
REFUSE_FROM = 0.5
FEWEST = 10
"""Rows left out of all rows, or of a class, below which a share says nothing."""
FIX = (
    "where the rows share a form's wording, shorten the inputs to what differs, or set data.near_duplicates: ignore in "
    "task_definition.yaml; where they are copies, collect different rows; data_report.json lists the pairs"
)


@dataclass
class Account:
    """Rows that are left out."""

    rows: Counter[str] = field(default_factory=Counter)
    """By split."""
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By split and class; a row counts in each class that occurs in it."""

    def leave_out(self, split: Split, names: Iterable[str]) -> None:
        """Enter a row of `split` with the classes `names`."""
        self.rows[split] += 1
        self.classes.update((split, name) for name in names)

    def counts(self, kept: Mapping[str, int], name: str | None = None) -> SplitCounts:
        """The account of a class, or of all rows; `kept` has the rows of each split."""
        left = {split: self.rows[split] if name is None else self.classes[split, name] for split in SPLITS}
        number = sum(kept[split] + left[split] for split in SPLITS)
        return SplitCounts(number, kept["train"], kept["valid"], kept["test"], left["train"], left["valid"])


@dataclass(frozen=True)
class Loss:
    """So many rows of a class, or of all, are left out that it has to be said."""

    name: str | None
    counts: SplitCounts
    refused: bool

    @property
    def message(self) -> str:
        left, of = self.counts.left_out, self.counts.rows - self.counts.test
        rows = "rows" if self.name is None else f"rows of class {shown(self.name)}"
        return (
            f"{left} of {of} {rows} for training and validation ({left / of:.0%}) share two thirds of their wording "
            "with a row of a later split and are left out"
        )


def losses(everything: SplitCounts, classes: Mapping[str, SplitCounts]) -> list[Loss]:
    """The worst that has to be said: all rows refused, or else classes; all rows at a loss, or else classes."""
    whole = _loss(None, everything)
    if whole and whole.refused:
        return [whole]
    found = [loss for name, counts in classes.items() if (loss := _loss(name, counts))]
    return [loss for loss in found if loss.refused] or ([whole] if whole else found)


def _loss(name: str | None, counts: SplitCounts) -> Loss | None:
    left, of = counts.left_out, counts.rows - counts.test
    if left < FEWEST or left < WARN_FROM * of:
        return None
    return Loss(name, counts, left >= REFUSE_FROM * of)
