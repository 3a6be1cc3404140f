"""Score adapter and baselines on the test set: python scripts/04_evaluate.py [--force] [--limit N] [--report-only]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.evaluation.stage import evaluate


def main(
    force: Annotated[bool, typer.Option("--force", help="ask the models again, reuse no kept predictions")] = False,
    limit: Annotated[int | None, typer.Option("--limit", help="only the first N rows; never passes the gate")] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="exit 0 also when the gate fails")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="the CPU smoke settings, output in build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Write benchmarks/results/evaluation_report.{yaml,md,html}; exit 76 when the gate fails."""
    options = {"force": force, "limit": limit, "report_only": report_only}
    raise typer.Exit(run(evaluate, project=project, smoke=smoke, **options))


if __name__ == "__main__":
    typer.run(main)
