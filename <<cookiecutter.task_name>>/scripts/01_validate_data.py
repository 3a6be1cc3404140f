"""Check every raw record against the task definition: python scripts/01_validate_data.py [--json] [--fix] [--smoke]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.data.fixing import fix as write_corrected_copies
from finetune.data.stage import validate


def main(
    json: Annotated[bool, typer.Option("--json", help="problems as JSON on standard output")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="write NAME.jsonl.fixed: BOM, CRLF, blank lines, NFC")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="the CPU smoke settings, output in build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Check every record of data/raw and write benchmarks/results/data_report.{json,md,html}; exit 2 on any error.

    With --fix only write a corrected copy beside each file that needs one; no file of yours is changed. What a
    code means: docs/errors.md.
    """
    raise typer.Exit(run(write_corrected_copies if fix else validate, project=project, smoke=smoke, as_json=json))


if __name__ == "__main__":
    typer.run(main)
