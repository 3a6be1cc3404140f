"""Step of ci: is the machinery as the template shipped it? Told in the log and the step summary; never fails a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from finetune.console import say
from finetune.errors import OK, FinetuneError
from finetune.github.client import actions
from finetune.machinery import Comparison, compare
from finetune.markdown import fenced

SHOWN = 50
"""Differences listed; the rest is counted."""


def as_shipped(root: Path) -> int:
    """Say what differs below `root` from what its finetune/SEALED.json names, and how to test it (W990, W991)."""
    try:
        comparison = compare(root)
    except FinetuneError as unreadable:
        say(str(unreadable))
        actions.summary(f"### Machinery: not known\n\n{fenced(str(unreadable))}")
        return OK
    version = f"v{comparison.seal.version}"
    if not comparison.differences:
        own = f"by the commit's own seal {comparison.seal.digest[:12]}"
        summary = f"as shipped in {version}: {comparison.compared} files, {own}"
        say(summary)
        actions.summary(f"### Machinery: as shipped in {version}\n\n{fenced(summary)}")
        return OK
    lines = [*_listed(comparison), f"W991 {_differing(comparison, version)}. Fix: {_how_to_test(root, version)}"]
    for line in lines:
        say(line)
    actions.summary(f"### Machinery: not as shipped in {version}\n\n{fenced(chr(10).join(lines))}")
    return OK


def _listed(comparison: Comparison) -> list[str]:
    differences = comparison.differences
    more = [f"  … and {len(differences) - SHOWN} more"] if len(differences) > SHOWN else []
    return [*(f"  {difference}" for difference in differences[:SHOWN]), *more]


def _differing(comparison: Comparison, version: str) -> str:
    counted = ((comparison.changed, "changed"), (comparison.missing, "missing"), (comparison.added, "added"))
    counts = ", ".join(f"{len(names)} {kind}" for names, kind in counted if names)
    return f"the machinery is not as shipped in {version}: {counts} (of {len(comparison.seal.files)} sealed files)"


def _how_to_test(root: Path, version: str) -> str:
    here = shlex.quote(f"../{root.resolve().name}")
    return f"none, if it is meant; a checkout of the template at {version} tests it by: make test REPOSITORY={here}"
