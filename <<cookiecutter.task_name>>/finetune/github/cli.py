"""One subcommand for each step of the workflows; `python scripts/github.py --help` lists them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from finetune.console import guarded, run

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Sha = Annotated[str, typer.Option(envvar="SHA", help="full commit SHA, 40 hex digits")]
PullRequest = Annotated[str, typer.Option(envvar="PR", help="number of the pull request; empty for none")]
Fingerprint = Annotated[str, typer.Option(envvar="FINGERPRINT", help="training fingerprint, 64 hex digits")]
Digest = Annotated[str, typer.Option(envvar="DIGEST", help="sha256 of the frozen input's manifest")]


def _run(module: str, name: str, **options: Any) -> None:
    def step(project: Any, **values: Any) -> int:
        # Imported late, so that one broken or heavy part cannot keep the others from answering.
        function: Callable[..., int] = getattr(import_module(f"finetune.github.{module}"), name)
        return function(project, **values)

    raise typer.Exit(run(step, project=Path("."), **options))


def _call(module: str, name: str, *arguments: Any) -> None:
    """The same for what needs no configuration, or reports that there is none that loads."""
    raise typer.Exit(guarded(lambda: getattr(import_module(f"finetune.github.{module}"), name)(*arguments)))


@app.command()
def fingerprint() -> None:
    """Output the fingerprint of what training and evaluation would read."""
    _run("fingerprint", "fingerprint")


@app.command()
def data_summary(base: Annotated[Path, typer.Option(help="a checkout of what the change is compared with")]) -> None:
    """Write the data report with what changed, also as the step summary."""
    # Not by _run: a configuration that cannot be loaded is one of the things to report.
    _call("data_report", "folder_summary", Path("."), base)


@app.command()
def comment_data(
    dataset: Annotated[Path, typer.Option(help="the downloaded artifact")], sha: Sha, pr: PullRequest,
    training: Annotated[str, typer.Option(envvar="TRAINING", help="what request-training did")] = "",
    number: Annotated[str, typer.Option("--run", envvar="RUN", help="the training run's id")] = "",
) -> None:  # fmt: skip
    """Update the data report comment of the pull request."""
    _call("data_report", "comment_data", None, dataset, sha, pr, training, number)


@app.command()
def request_training(fingerprint: Fingerprint, sha: Sha, pr: PullRequest = "") -> None:
    """Dispatch train.yml, unless an evaluated run of this fingerprint exists."""
    _run("training", "request_training", fingerprint=fingerprint, sha=sha, pr=pr)


@app.command()
def resolve(sha: Sha, pr: PullRequest = "") -> None:
    """Check that the commit may be trained, and where it comes from."""
    _run("training", "resolve", sha=sha, pr=pr)


@app.command()
def freeze(
    sha: Sha, source: Annotated[str, typer.Option(envvar="SOURCE", help="repository or fork")], pr: PullRequest = "",
    gated: Annotated[str, typer.Option(envvar="GATED_BASE", help="how a gated base model reaches the GPU")] = "",
) -> None:  # fmt: skip
    """Copy the input into build/input with a manifest of every byte."""
    _run("freezing", "freeze", sha=sha, source=source, pr=pr, gated=gated)


@app.command()
def thaw(digest: Digest, to: Annotated[Path, typer.Option(help="folder to place it in")]) -> None:
    """Place a frozen input, after comparing every byte."""
    _run("freezing", "thaw", digest=digest, to=to)


@app.command()
def pack(fingerprint: Fingerprint, work: Annotated[Path, typer.Option("--from", help="where training ran")]) -> None:
    """Gather adapter and report in build/adapter."""
    _run("adapters", "pack", work=work, fingerprint=fingerprint)


@app.command()
def report(
    sha: Sha, fingerprint: Fingerprint, digest: Digest, pr: PullRequest = "",
    reuse: Annotated[str, typer.Option(envvar="REUSE", help="id of the run whose adapter is reused, or 0")] = "0",
    result: Annotated[str, typer.Option(envvar="RESULT", help="result of the train job")] = "",
) -> None:  # fmt: skip
    """Judge by main's thresholds, comment on the pull request, set the status."""
    _run(
        "evaluation_comment", "report", sha=sha, pr=pr, fingerprint=fingerprint, digest=digest, reuse=reuse,
        result=result,
    )  # fmt: skip


@app.command()
def place_adapter(fingerprint: Fingerprint) -> None:
    """Put a downloaded adapter into models/adapter, if it passes the gate."""
    _run("adapters", "place_adapter", fingerprint=fingerprint)


@app.command()
def release_resolve() -> None:
    """Check the tag and find the evaluated run of its input."""
    _run("release", "release_resolve")


@app.command()
def release_assets() -> None:
    """Gather the release's files in build/release."""
    _run("assets", "release_assets")


@app.command()
def github_release() -> None:
    """Draft the GitHub release, attach the files, publish."""
    _run("github_release", "github_release")


@app.command()
def record() -> None:
    """Open the pull request that records the release on main."""
    _run("record", "record")
