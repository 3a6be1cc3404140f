"""Compare every artefact with the adapter on the test set: python scripts/07_verify_export.py [--force] [--smoke]."""

from pathlib import Path

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.export.parity import verify


def main(
    force: bool = typer.Option(False, "--force", help="Do it again although it is up to date."),
    smoke: bool = typer.Option(False, "--smoke", help="CPU run with configs/smoke_config.yaml, below build/smoke/."),
    project: Path = typer.Option(Path("."), help="Root of the repository."),
) -> None:
    """Put the comparison into the evaluation report; exit 76 when an artefact may not be released."""
    raise typer.Exit(run(verify, project=project, smoke=smoke, force=force))


if __name__ == "__main__":
    typer.run(main)
