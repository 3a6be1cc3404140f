"""Make the GGUF files and the Ollama files: python scripts/06_convert_gguf.py [--force] [--smoke]."""

from pathlib import Path

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.export.gguf import convert


def main(
    force: bool = typer.Option(False, "--force", help="Do it again although it is up to date."),
    smoke: bool = typer.Option(False, "--smoke", help="CPU run with configs/smoke_config.yaml, below build/smoke/."),
    project: Path = typer.Option(Path("."), help="Root of the repository."),
) -> None:
    """Write models/gguf from models/merged, in the quantisations of configs/benchmark_config.yaml."""
    raise typer.Exit(run(convert, project=project, smoke=smoke, force=force))


if __name__ == "__main__":
    typer.run(main)
