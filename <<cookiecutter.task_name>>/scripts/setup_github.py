"""Make GitHub's settings what the workflows expect: python scripts/setup_github.py [--dry-run | --check]."""

from pathlib import Path
from typing import Annotated

import _start  # noqa: F401 (first: it finds finetune)
import typer

from finetune.console import run
from finetune.github.setup.command import setup


def main(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the gh commands, change nothing")] = False,
    check: Annotated[bool, typer.Option("--check", help="exit 76 if a setting is missing, change nothing")] = False,
    repo: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="by default that of the git remote")] = None,
    runner_labels: Annotated[str | None, typer.Option(help="""JSON for runs-on: '["self-hosted","gpu"]'""")] = None,
    reviewer: Annotated[list[str] | None, typer.Option(help="login or ORG/TEAM who approves training, release")] = None,
    approvals: Annotated[int, typer.Option(min=0, max=6, help="approvals before main; 0 if you work alone")] = 1,
    project: Annotated[Path, typer.Option(help="repository root")] = Path("."),
) -> None:
    """Set environments, rules, tokens, variables and labels through your own `gh` login; twice changes nothing."""
    asked = {"runner_labels": runner_labels, "reviewers": reviewer or (), "approvals": approvals}
    raise typer.Exit(run(setup, project=project, repository=repo, check=check, dry_run=dry_run, **asked))


if __name__ == "__main__":
    typer.run(main)
