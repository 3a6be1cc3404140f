"""The evidence functions by name, as checklist.yaml calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding

Evidence = Callable[[Facts], Finding]
Function = TypeVar("Function", bound=Evidence)
EVIDENCE: dict[str, Evidence] = {}


def evidence(function: Function) -> Function:
    """Register an evidence function under its name, which checklist.yaml uses."""
    if function.__name__ in EVIDENCE:
        raise ValueError(f"two evidence functions are called {function.__name__}")
    EVIDENCE[function.__name__] = function
    return function
