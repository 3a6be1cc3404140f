"""Put the base model onto this disk, with HF_TOKEN where it is gated: python scripts/fetch_base.py."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.training.base_model import fetch_base


def main(project: Annotated[Path, typer.Option(help="repository root")] = Path(".")) -> None:
    """Download the base model at its commit, unless it is here; no step after it needs a login for it."""
    raise typer.Exit(run(fetch_base, project=project))


if __name__ == "__main__":
    typer.run(main)
