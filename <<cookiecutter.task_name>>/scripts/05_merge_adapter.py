"""Merge the adapter into the base model: python scripts/05_merge_adapter.py [--force] [--smoke]."""

from pathlib import Path

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.export.merge import merge


def main(
    force: bool = typer.Option(False, "--force", help="Do it again although it is up to date."),
    smoke: bool = typer.Option(False, "--smoke", help="CPU run with configs/smoke_config.yaml, below build/smoke/."),
    project: Path = typer.Option(Path("."), help="Root of the repository."),
) -> None:
    """Write models/merged from models/adapter and the 16-bit base model."""
    raise typer.Exit(run(merge, project=project, smoke=smoke, force=force))


if __name__ == "__main__":
    typer.run(main)
