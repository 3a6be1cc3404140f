"""Convert raw records to chat records in three splits: python scripts/02_convert_format.py [--force] [--smoke]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.data.stage import convert


def main(
    force: Annotated[bool, typer.Option("--force", help="convert again even if up to date")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="the CPU smoke settings, output in build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Write data/chat_format/{train,valid}.jsonl and data/test.jsonl with a manifest; exit 2 on any error."""
    raise typer.Exit(run(convert, project=project, smoke=smoke, force=force))


if __name__ == "__main__":
    typer.run(main)
