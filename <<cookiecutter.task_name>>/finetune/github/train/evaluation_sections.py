"""What the evaluation comment says, section by section: the verdict first, every text of others escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from finetune.config.project import Project
from finetune.errors import BAD_INPUT, INTERRUPTED, IO_FAULT, MODEL_FAULT
from finetune.evaluation.markdown import render_markdown
from finetune.github.train.frozen import PolicyChange
from finetune.github.train.gate import Verdict
from finetune.markdown import plain, split_sections, table
from finetune.numbers import format_number

CHANGES = 50
"""Policy changes listed; the rest is counted."""
_EXIT_CODES = (
    (BAD_INPUT, "the data or a configuration is wrong; the log names file and line"),
    (MODEL_FAULT, "the model failed: loss or weights not finite, out of memory"),
    (IO_FAULT, "disk or network failed: run it again"),
    (INTERRUPTED, "stopped from outside: run it again"),
)
_ENDED = {
    "failure": "training failed",
    "cancelled": "training was cancelled or ran out of time",
    "skipped": "training was skipped: its approval was refused or not given",
}
RESULTS = ("success", *_ENDED)
"""What GitHub calls the result of a job."""


def measured(project: Project, verdict: Verdict, origin: str) -> list[str]:
    """Verdict with metric, value and threshold; reasons; then the report's tables as this checkout draws them."""
    reasons = _reasons(verdict.reasons)
    if verdict.report is None:
        return [f"## ❌ Not judged: {goal(project)}\n\n{origin}", *reasons]
    first, *tables = split_sections(render_markdown(verdict.report))
    return ["\n\n".join([first, origin]), *reasons, *tables]


def not_trained(project: Project, result: str, run_url: str) -> list[str]:
    """Training ended without an adapter: why, as far as GitHub tells, and what the exit code in the log means."""
    ended = _ENDED.get(result, "training did not end well")
    sections = [f"## ❌ Not measured: {ended} ({goal(project)})\n\nNothing was evaluated. [Log of the run]({run_url})."]
    if result == "failure":
        rows = [(str(code), meaning) for code, meaning in _EXIT_CODES]
        sections.append("\n".join(["### Exit code in the log", "", *table(("code", "meaning"), rows)]))
    return sections


def unusable(project: Project, reason: str, run_url: str) -> list[str]:
    """Something between training and report was damaged or exchanged."""
    head = f"## ❌ Not judged: {goal(project)}"
    return [
        f"{head}\n\nWhat the training handed over cannot be used. [Log of the run]({run_url}).",
        *_reasons([reason]),
    ]


def superseded(project: Project, sha: str, head: str, run_url: str) -> list[str]:
    """The pull request has moved on: no verdict, whatever the numbers were."""
    return [
        f"## ⏭️ Superseded: {goal(project)}, not judged\n\n"
        f"[This run]({run_url}) was about {commit(sha)}, but the pull request is at {commit(head)} by now. "
        "The newer commit gets its own evaluation; this one counts for nothing."
    ]


def policy(changes: Sequence[PolicyChange]) -> list[str]:
    """What this change does to the rules it is judged by; none where it leaves them alone."""
    if not changes:
        return []
    items = [f"- **{plain(change.path)}** ({plain(change.kind)}): {plain(change.detail)}" for change in changes]
    more = [f"- … and {len(items) - CHANGES} more"] if len(items) > CHANGES else []
    head = "### ⚠️ Policy change"
    text = "This change touches what it is judged by. Thresholds and renderer are main's; a code owner must agree to:"
    return ["\n".join([head, "", text, "", *items[:CHANGES], *more])]


def goal(project: Project) -> str:
    """The metric and threshold that everything is about."""
    metrics = project.task.metrics
    return f"{plain(metrics.primary)} – (threshold {format_number(metrics.threshold)})"


def commit(sha: str) -> str:
    """A commit as GitHub links it; the caller has checked that it is hexadecimal."""
    return f"`{sha[:12]}`"


def _reasons(reasons: Iterable[str]) -> list[str]:
    items = [f"- {plain(reason)}" for reason in reasons]
    return ["\n".join(["### Why not", "", *items])] if items else []
