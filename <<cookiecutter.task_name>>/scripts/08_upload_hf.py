"""Publish adapter, GGUF and merged model: python scripts/08_upload_hf.py --version 1.0.0 [--dry-run] [--force]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.hub.publish import publish


def main(
    version: Annotated[str | None, typer.Option(help="e.g. 1.0.0; by default this GitHub run's tag")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="write cards and plan, upload nothing")] = False,
    force: Annotated[bool, typer.Option("--force", help="ask the Hub again although receipts are here")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="the smoke run's artefacts, with --dry-run only")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Upload the three Hugging Face repositories of a release; the same command again finishes or does nothing."""
    raise typer.Exit(run(publish, project=project, smoke=smoke, version=version, dry_run=dry_run, force=force))


if __name__ == "__main__":
    typer.run(main)
