"""Train the LoRA or QLoRA adapter, or resume: python scripts/03_train.py [--force | --restart] [--smoke]."""

from pathlib import Path

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.training.trainer import train


def main(
    force: bool = typer.Option(False, "--force", help="Train again although the adapter is up to date."),
    restart: bool = typer.Option(False, "--restart", help="Discard the checkpoints of an interrupted run."),
    smoke: bool = typer.Option(False, "--smoke", help="CPU run with configs/smoke_config.yaml, below build/smoke/."),
    project: Path = typer.Option(Path("."), help="Root of the repository."),
) -> None:
    """Train models/adapter from data/chat_format with configs/training_config.yaml."""
    raise typer.Exit(run(train, project=project, smoke=smoke, force=force, restart=restart))


if __name__ == "__main__":
    typer.run(main)
