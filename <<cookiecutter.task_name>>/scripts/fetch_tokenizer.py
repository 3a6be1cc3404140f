"""Copy the base model's tokenizer into configs/tokenizer, to be committed: python scripts/fetch_tokenizer.py."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.training.tokenizer_files import fetch_tokenizer


def main(project: Annotated[Path, typer.Option(help="repository root")] = Path(".")) -> None:
    """Write configs/tokenizer, without the model's weights: with it the data job checks lengths and control tokens."""
    raise typer.Exit(run(fetch_tokenizer, project=project))


if __name__ == "__main__":
    typer.run(main)
