"""One subcommand for each step of the workflows; `python scripts/github.py --help` lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from finetune import remedies
from finetune.console import guarded, run

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Sha = Annotated[str, typer.Option(envvar="SHA", help="full commit SHA, 40 hex digits")]
PullRequest = Annotated[str, typer.Option(envvar="PR", help="number of the pull request; empty for none")]
Fingerprint = Annotated[str, typer.Option(envvar="FINGERPRINT", help="training fingerprint, 64 hex digits")]
Digest = Annotated[str, typer.Option(envvar="DIGEST", help="sha256 of the frozen input's manifest")]


def _run(step: Callable[..., int], **options: Any) -> None:
    raise typer.Exit(run(step, project=Path("."), **options))


@app.command()
def as_shipped() -> None:
    """Say whether the machinery is as the template shipped it; never fails."""
    # Not by _run: what the machinery is does not depend on a configuration that loads.
    from finetune.github.as_shipped import as_shipped as step

    remedies.use(Path("."))
    raise typer.Exit(guarded(lambda: step(Path("."))))


@app.command()
def fingerprint() -> None:
    """Output the fingerprint of what training and evaluation would read."""
    from finetune.github.train.fingerprint import fingerprint as step

    _run(step)


@app.command()
def data_summary(base: Annotated[Path, typer.Option(help="a checkout of what the change is compared with")]) -> None:
    """Write the data report with what changed, also as the step summary."""
    # Not by _run: a configuration that cannot be loaded is one of the things to report.
    from finetune.github.data_pr.command import folder_summary as step

    raise typer.Exit(guarded(lambda: step(Path("."), base)))


@app.command()
def comment_data(
    dataset: Annotated[Path, typer.Option(help="the downloaded artifact")],
    sha: Sha,
    pr: PullRequest,
    training: Annotated[str, typer.Option(envvar="TRAINING", help="what request-training did")] = "",
    number: Annotated[str, typer.Option("--run", envvar="RUN", help="the training run's id")] = "",
) -> None:
    """Update the data report comment of the pull request."""
    from finetune.github.data_pr.command import comment_data as step

    raise typer.Exit(guarded(lambda: step(None, dataset, sha, pr, training, number)))


@app.command()
def request_training(fingerprint: Fingerprint, sha: Sha, pr: PullRequest = "") -> None:
    """Dispatch train.yml, unless an evaluated run of this fingerprint exists."""
    from finetune.github.train.request import request_training as step

    _run(step, fingerprint=fingerprint, sha=sha, pr=pr)


@app.command()
def resolve(sha: Sha, pr: PullRequest = "") -> None:
    """Check that the commit may be trained, and where it comes from."""
    from finetune.github.train.request import resolve as step

    _run(step, sha=sha, pr=pr)


@app.command()
def freeze(
    sha: Sha,
    source: Annotated[str, typer.Option(envvar="SOURCE", help="repository or fork")],
    pr: PullRequest = "",
    gated: Annotated[str, typer.Option(envvar="GATED_BASE", help="how a gated base model reaches the GPU")] = "",
) -> None:
    """Copy the input into build/input with a manifest of every byte."""
    from finetune.github.train.freezing import freeze as step

    _run(step, sha=sha, source=source, pr=pr, gated=gated)


@app.command()
def thaw(digest: Digest, to: Annotated[Path, typer.Option(help="folder to place it in")]) -> None:
    """Place a frozen input, after comparing every byte."""
    from finetune.github.train.freezing import thaw as step

    _run(step, digest=digest, to=to)


@app.command()
def pack(fingerprint: Fingerprint, work: Annotated[Path, typer.Option("--from", help="where training ran")]) -> None:
    """Gather adapter and report in build/adapter."""
    from finetune.github.train.adapters import pack as step

    _run(step, work=work, fingerprint=fingerprint)


@app.command()
def report(
    sha: Sha,
    fingerprint: Fingerprint,
    digest: Digest,
    pr: PullRequest = "",
    reuse: Annotated[str, typer.Option(envvar="REUSE", help="id of the run whose adapter is reused, or 0")] = "0",
    result: Annotated[str, typer.Option(envvar="RESULT", help="result of the train job")] = "",
) -> None:
    """Judge by main's thresholds, comment on the pull request, set the status."""
    from finetune.github.train.evaluation_comment import report as step

    _run(step, sha=sha, pr=pr, fingerprint=fingerprint, digest=digest, reuse=reuse, result=result)


@app.command()
def place_adapter(fingerprint: Fingerprint) -> None:
    """Put a downloaded adapter into models/adapter, if it passes the gate."""
    from finetune.github.train.adapters import place_adapter as step

    _run(step, fingerprint=fingerprint)


@app.command()
def release_resolve() -> None:
    """Check the tag and find the evaluated run of its input."""
    from finetune.github.release.eligible import release_resolve as step

    _run(step)


@app.command()
def release_assets() -> None:
    """Gather the release's files in build/release."""
    from finetune.github.release.assets import release_assets as step

    _run(step)


@app.command()
def github_release() -> None:
    """Draft the GitHub release, attach the files, publish."""
    from finetune.github.release.github_release import github_release as step

    _run(step)


@app.command()
def record() -> None:
    """Open the pull request that records the release on main."""
    from finetune.github.release.record import record as step

    _run(step)
