"""Ask the model line by line: python scripts/chat.py [--artefact NAME] [--smoke]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.inference.chat import chat


def main(
    artefact: Annotated[str | None, typer.Option(help="adapter, merged, zero_shot, or f16, Q8_0 … (GGUF)")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="the models of the smoke run in build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Each line is one question; /base turns to the base model and back, /quit or Ctrl-D ends."""
    raise typer.Exit(run(chat, project=project, smoke=smoke, artefact=artefact))


if __name__ == "__main__":
    typer.run(main)
