"""Answer a file of texts: python scripts/predict.py IN OUT.jsonl [--artefact NAME] [--force] [--smoke]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.inference.predict import predict


def main(
    source: Annotated[str, typer.Argument(metavar="IN", help=".jsonl, .txt with one text a line, - for stdin")] = "",
    output: Annotated[str, typer.Argument(metavar="OUT", help=".jsonl: each row and its prediction")] = "",
    artefact: Annotated[str | None, typer.Option(help="adapter, merged, zero_shot, or f16, Q8_0 … (GGUF)")] = None,
    format: Annotated[str | None, typer.Option(help="jsonl or txt, where IN's name does not say it")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace what another run has written to OUT")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="the models of the smoke run in build/smoke")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Rows are checked first; a stopped run goes on where it was. Without --artefact: the first model that exists."""
    options = {"source": source, "output": output, "artefact": artefact, "form": format, "force": force}
    raise typer.Exit(run(predict, project=project, smoke=smoke, **options))


if __name__ == "__main__":
    typer.run(main)
