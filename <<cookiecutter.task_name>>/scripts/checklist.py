"""Tick CHECKLIST.md by what lies in the repository: python scripts/checklist.py [--check PHASE] [--json] [--smoke]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.evidence.checklist import command


def main(
    check: Annotated[int | None, typer.Option(metavar="PHASE", help="exit 76 unless this phase (1-7) is done")] = None,
    json: Annotated[bool, typer.Option("--json", help="items and evidence as JSON on standard output")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="look at the CPU smoke run below build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Decide every item of the checklist from evidence, rewrite CHECKLIST.md and show what is open."""
    raise typer.Exit(command(project, smoke=smoke, check=check, as_json=json))


if __name__ == "__main__":
    typer.run(main)
