"""Make another model the base: python scripts/use_model.py OWNER/NAME | FOLDER [--revision R] [--dry-run]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.use_model.stage import use_model


def main(
    model: Annotated[str, typer.Argument(help="OWNER/NAME on the Hub, or a folder such as models/base/NAME")],
    revision: Annotated[str | None, typer.Option(help="branch, tag or commit; its commit is written")] = None,
    method: Annotated[str | None, typer.Option(help="lora or qlora; as configured when left away")] = None,
    thinking: Annotated[str | None, typer.Option(help="on or off, for hybrid models; off when left away")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say everything, write nothing")] = False,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Look at the model, then write configs/tokenizer and base_model of training_config.yaml; exit 2 if unfit."""
    options = {"revision": revision, "method": method, "thinking": thinking, "dry_run": dry_run}
    raise typer.Exit(run(use_model, project=project, model=model, **options))


if __name__ == "__main__":
    typer.run(main)
