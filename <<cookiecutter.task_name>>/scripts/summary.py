"""Show the scores of the last run and where its files are: python scripts/summary.py [--smoke]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.evaluation.summary import summarise


def main(
    smoke: Annotated[bool, typer.Option("--smoke", help="of the smoke run in build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Print how the base model, the adapter and every artefact score on the test set."""
    raise typer.Exit(run(summarise, project=project, smoke=smoke))


if __name__ == "__main__":
    typer.run(main)
