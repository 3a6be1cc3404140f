"""The last step of train.yml: judge by main's thresholds, say so on the pull request, on the commit, in the summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finetune.config.project import Project
from finetune.console import say
from finetune.errors import GATE_FAILED, IO_FAULT, OK, FinetuneError
from finetune.github.client import actions
from finetune.github.client.comments import upsert
from finetune.github.client.statuses import set_status
from finetune.github.train import evaluation_sections as sections
from finetune.github.train.adapter_folder import PREDICTIONS, REPORT, RunFacts, read_adapter
from finetune.github.train.adapters import adapter_at
from finetune.github.train.frozen import FrozenInput, read_input
from finetune.github.train.gate import Verdict, judge
from finetune.numbers import format_number

if TYPE_CHECKING:
    from finetune.github.client.api import GitHub

MARKER = "evaluation"


@dataclass(frozen=True)
class Judgement:
    """What is said about one commit."""

    state: str
    """of the commit status: success, failure (judged, and not good enough) or error (not judged)"""
    description: str
    sections: list[str]
    exit_code: int
    policy: list[str] = field(default_factory=list)

    @property
    def body(self) -> list[str]:
        """Verdict, then policy changes, then the rest."""
        return [self.sections[0], *self.policy, *self.sections[1:]]


@dataclass(frozen=True)
class _Arguments:
    """The step's arguments, each of the form it must have."""

    sha: str
    number: int | None
    fingerprint: str
    digest: str
    reuse: int
    result: str


def report(project: Project, sha: str, pr: str, fingerprint: str, digest: str, reuse: str, result: str) -> int:
    """Judge build/adapter against build/input; comment on the pull request, set the commit status, write the summary.

    `reuse` is the run whose adapter is looked at instead of this run's, 0 for none; `result` is the train job's.
    Returns OK, also when training failed (its own job is red) or the head has moved; GATE_FAILED (76) when the adapter
    was judged and does not pass; IO_FAULT (74) when what training handed over is damaged. A comment that cannot be
    written is a warning. Raises FinetuneError (E603) for malformed arguments, ApiError (E604) without a status.
    """
    from finetune.github.client.api import GitHub

    arguments = _Arguments(
        actions.sha40(sha),
        actions.parse_number(pr),
        actions.hex64(fingerprint),
        actions.hex64(digest),
        actions.parse_number(reuse) or 0,
        result,
    )
    github = GitHub.from_environment()
    outcome = _outcome(project, arguments)
    # Asked last, so that the answer is as fresh as can be: a push during the judging counts too.
    head = _head(github, arguments.number)
    if head is not None and head != arguments.sha:
        content = sections.superseded(project, arguments.sha, head, actions.run_url())
        outcome = Judgement("error", f"superseded by {head[:12]}, not judged", content, OK)
    _publish(github, arguments, outcome)
    return outcome.exit_code


def _outcome(project: Project, arguments: _Arguments) -> Judgement:
    """What build/input and build/adapter say, whatever their state."""
    try:
        frozen = read_input(project.paths.root / "build" / "input", arguments.digest)
        _require_same(frozen, arguments)
    except FinetuneError as failure:
        return _unusable(project, failure, [])
    policy = sections.policy(frozen.policy_changes)
    if not arguments.reuse and arguments.result != "success":
        content = sections.not_trained(project, arguments.result, actions.run_url())
        word = arguments.result if arguments.result in sections.RESULTS else "without a result"
        return Judgement("error", f"training: {word}; nothing was measured", content, OK, policy)
    folder = adapter_at(project)
    try:
        run = read_adapter(folder, arguments.fingerprint)
        _require_run(run, arguments)
    except FinetuneError as failure:
        return _unusable(project, failure, policy)
    verdict = judge(
        project,
        folder / REPORT,
        test_rows=frozen.test.rows,
        test_sha256=frozen.test.sha256,
        predictions=folder / PREDICTIONS,
    )
    content = sections.measured(project, verdict, _origin(arguments, frozen, run))
    state, code = ("success", OK) if verdict.passed else ("failure", GATE_FAILED)
    return Judgement(state, _description(project, verdict), content, code, policy)


def _require_same(frozen: FrozenInput, arguments: _Arguments) -> None:
    if (frozen.sha, frozen.pr, frozen.fingerprint) != (arguments.sha, arguments.number, arguments.fingerprint):
        raise FinetuneError("the frozen input is of another commit, pull request or fingerprint", code="E636")


def _require_run(run: RunFacts, arguments: _Arguments) -> None:
    """The adapter is of the run that was named; of this run, it was made of this very input."""
    if run.run_id != (arguments.reuse or actions.run_id()):
        raise FinetuneError("the adapter artifact is of another run", code="E636")
    if not arguments.reuse and run.digest != arguments.digest:
        raise FinetuneError("the adapter artifact is of another input", code="E636")


def _unusable(project: Project, failure: FinetuneError, policy: list[str]) -> Judgement:
    say(str(failure))
    reason = " ".join(str(failure).split())[:1000]
    content = sections.unusable(project, reason, actions.run_url())
    return Judgement("error", "not judged: the training's files cannot be used", content, IO_FAULT, policy)


def _origin(arguments: _Arguments, frozen: FrozenInput, run: RunFacts) -> str:
    """Which commit, which run, how many rows; and that nothing was trained anew where nothing was."""
    rows = frozen.rows
    counts = f"{rows.train:,} training, {rows.valid:,} validation and {rows.test:,} test rows"
    link = f"[run {run.run_id}]({actions.run_url(run.run_id)})"
    if arguments.reuse:
        return (
            f"♻️ Nothing was trained for {sections.commit(arguments.sha)}: its data, configuration and code are those "
            f"that {link} trained and evaluated for {sections.commit(run.sha)}. {counts.capitalize()}."
        )
    fork = ", the data of a fork with main's code" if frozen.source == "fork" else ""
    return f"{sections.commit(arguments.sha)} was trained in {link}{fork}: {counts}."


def _description(project: Project, verdict: Verdict) -> str:
    metric, threshold = project.task.metrics.primary, project.task.metrics.threshold
    if verdict.report is None:
        return f"not judged: {verdict.reasons[0]}"
    primary, rows = verdict.report.primary, verdict.report.outputs.rows
    more = "; another condition failed" if primary.passed and not verdict.passed else ""
    return f"{metric} {format_number(primary.value)}, threshold {format_number(threshold)}, {rows} test rows{more}"


def _head(github: GitHub, pull: int | None) -> str | None:
    """The pull request's head commit now; None without one, or when GitHub does not tell."""
    if pull is None:
        return None
    try:
        answer = github.get(f"/repos/{{repo}}/pulls/{pull}")
        return actions.sha40(answer["head"]["sha"])
    except (FinetuneError, KeyError, TypeError) as failure:
        # The status goes to the commit that was trained: it says nothing about any newer one.
        say(f"W630 the pull request's head could not be read: {failure}")
        return None


def _publish(github: GitHub, arguments: _Arguments, outcome: Judgement) -> None:
    """The summary first, which nothing can keep from being written; the status last, since it may raise."""
    page, address = actions.run_url(), None
    actions.summary(outcome.body)
    if arguments.number is not None:
        address = upsert(github, arguments.number, MARKER, outcome.body, page)
    set_status(github, arguments.sha, outcome.state, outcome.description, address or page)
    say(f"{outcome.state}: {outcome.description}")
