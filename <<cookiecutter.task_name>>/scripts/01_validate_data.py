"""Check every raw record against the task definition: python scripts/01_validate_data.py [--json] [--smoke]."""

from pathlib import Path
from typing import Annotated

import typer

from finetune.console import run
from finetune.data.stage import validate


def main(
    json: Annotated[bool, typer.Option("--json", help="problems as JSON on standard output")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="the CPU smoke settings, output in build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Check every record of data/raw and write benchmarks/results/data_report.{json,md}; exit 2 on any error."""
    raise typer.Exit(run(validate, project=project, smoke=smoke, as_json=json))


if __name__ == "__main__":
    typer.run(main)
