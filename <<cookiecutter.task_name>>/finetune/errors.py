"""Exit codes, the exceptions that carry them, and located problems of the user's files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from finetune.hints import for_smoke

OK = 0
BAD_INPUT = 2
MODEL_FAULT = 70
IO_FAULT = 74
INTERRUPTED = 75
GATE_FAILED = 76


TAKEN_CARE_OF = {"W134"}
"""Codes of what needs nothing to be done."""


class FinetuneError(Exception):
    """A failure the user can act on: a code, one sentence, and what to do."""

    exit_code = BAD_INPUT

    def __init__(self, message: str, fix: str = "", code: str = "E999") -> None:
        super().__init__(message)
        self.message, self.fix, self.code = message, fix, code

    def __str__(self) -> str:
        return f"{self.code} {self.message.rstrip('.')}" + (f". Fix: {self.fix}" if self.fix else "")

    def in_smoke_run(self) -> None:
        """Turn the commands it names into those of a smoke run."""
        self.message, self.fix = for_smoke(self.message), for_smoke(self.fix)


class ModelFault(FinetuneError):
    """Training or a model went wrong by itself: NaN, divergence, an artefact that answers garbage."""

    exit_code = MODEL_FAULT


class StorageFault(FinetuneError):
    """Disk, network or a remote service failed."""

    exit_code = IO_FAULT


class Interrupted(FinetuneError):
    """Stopped from outside; running the same command again resumes."""

    exit_code = INTERRUPTED


class GateFailed(FinetuneError):
    """A measured value lies outside its threshold or tolerance."""

    exit_code = GATE_FAILED


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one place of one file; codes starting with W are warnings."""

    path: str
    code: str
    message: str
    fix: str = ""
    line: int | None = None
    key: str | None = None

    @property
    def is_warning(self) -> bool:
        return self.code.startswith("W")

    def __str__(self) -> str:
        place = self.path
        if self.line is not None:
            place += f":{self.line}"
        if self.key:
            place += f": {self.key}"
        text = f"{place}: {self.code} {self.message.rstrip('.')}"
        text = f"{text}. Fix: {self.fix}" if self.fix else text
        return text.replace("\r", "\\r").replace("\n", "\\n")  # one line a problem, whatever it quotes


class Problems:
    """Collects problems; every one is counted, the first `keep` of each severity are kept."""

    def __init__(self, keep: int = 1000) -> None:
        self._keep = keep
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.error_count = 0
        self.warning_count = 0

    def add(
        self, path: str, code: str, message: str, fix: str = "", *, line: int | None = None, key: str | None = None
    ) -> None:
        problem = Problem(str(path), code, message, fix, line, key)
        if problem.is_warning:
            self.warning_count += 1
            kept = self.warnings
        else:
            self.error_count += 1
            kept = self.errors
        if len(kept) < self._keep:
            kept.append(problem)

    def extend(self, others: Problems) -> None:
        """Add everything that `others` counted and kept, in its order."""
        self.error_count += others.error_count
        self.warning_count += others.warning_count
        self.errors += others.errors[: self._keep - len(self.errors)]
        self.warnings += others.warnings[: self._keep - len(self.warnings)]

    def sort(self, paths: Sequence[str]) -> None:
        """Bring the kept problems into the order of their places: what concerns no single file first, then by line.

        What is taken care of already stands last: it may be much, and must hide nothing.
        """
        order = {path: number for number, path in enumerate(paths)}

        def place(problem: Problem) -> tuple[bool, int, int]:
            return problem.code in TAKEN_CARE_OF, order.get(problem.path, -1), problem.line or sys.maxsize

        for kept in (self.errors, self.warnings):
            kept.sort(key=place)

    @property
    def all(self) -> list[Problem]:
        return [*self.errors, *self.warnings]

    def render(self, limit: int = 50) -> str:
        """One line a problem, errors first, at most `limit` lines, then the totals."""
        if not self.all:
            return ""
        lines = [str(problem) for problem in self.all[:limit]]
        total = self.error_count + self.warning_count
        if total > len(lines):
            lines.append(f"… and {total - len(lines)} more")
        lines.append(f"{_count(self.error_count, 'error')}, {_count(self.warning_count, 'warning')}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "errors": self.error_count,
            "warnings": self.warning_count,
            "problems": [asdict(problem) for problem in self.all],
        }

    def in_smoke_run(self) -> None:
        """Turn the commands in what is kept into those of a smoke run."""
        for kept in (self.errors, self.warnings):
            kept[:] = [replace(one, message=for_smoke(one.message), fix=for_smoke(one.fix)) for one in kept]

    def raise_if_errors(self) -> None:
        if self.error_count:
            raise BadInput(self)


class BadInput(FinetuneError):
    """The user's files hold at least one error; all of them are in `problems`."""

    def __init__(self, problems: Problems) -> None:
        super().__init__(problems.render(), code="E100")
        self.problems = problems

    def in_smoke_run(self) -> None:
        self.problems.in_smoke_run()

    def __str__(self) -> str:
        return self.problems.render()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def printable(name: str) -> str:
    """A file name for a message: ASCII, escaped, at most 120 characters."""
    text = json.dumps(name)[1:-1]
    return text if len(text) <= 120 else text[:117] + "..."
