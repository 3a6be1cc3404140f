"""Ask the model one text or a few: python scripts/try_model.py --text "…" [--artefact NAME] [--smoke]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.inference.trial import try_texts


def main(
    text: Annotated[list[str] | None, typer.Option(help="what to answer; may be given again and again")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="answer each line of standard input")] = False,
    artefact: Annotated[str | None, typer.Option(help="adapter, merged, zero_shot, or f16, Q8_0 … (GGUF)")] = None,
    base: Annotated[bool, typer.Option(help="ask the base model beside it")] = True,
    json: Annotated[bool, typer.Option("--json", help="one JSON object a text on standard output")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="the models of the smoke run in build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Show the answer, how sure the model is, and what the base model says to the same text."""
    options = {"texts": text or (), "stdin": stdin, "artefact": artefact, "base": base, "lines": json}
    raise typer.Exit(run(try_texts, project=project, smoke=smoke, **options))


if __name__ == "__main__":
    typer.run(main)
