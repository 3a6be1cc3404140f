"""The data report for a pull request: `data_summary` compares and writes, `comment_data` puts it into the comment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from finetune import provenance
from finetune.config.project import Project, load_project
from finetune.console import say
from finetune.data.raw_files import list_raw_files
from finetune.data.report.facts import nothing_wrong
from finetune.data.report.schema import DataReport, ProblemList
from finetune.errors import OK, BadInput, FinetuneError, Problems
from finetune.github.client import actions
from finetune.github.client.api import GitHub
from finetune.github.client.comments import AUTHOR, marker_line, upsert
from finetune.github.data_pr.change_sections import changed
from finetune.github.data_pr.changes import compare
from finetune.github.data_pr.schema import Changes, read
from finetune.github.data_pr.sections import check_table, distribution, figures, languages, passed, problems, verdict
from finetune.markdown import BYTES, CHARACTERS, limited
from finetune.paths import Paths

MARKER = "data-report"
DEPENDABOT = "dependabot[bot]"
CHANGES = "data_changes.json"
REPORT = "data_report.json"
PAGE = "data_comment.md"


def data_summary(project: Project, base: Path) -> int:
    """Compare with the checkout at `base`, if there is one, and write the report as a file and as the step summary.

    Writes benchmarks/results/data_changes.json and data_comment.md. A failed or missing step 01 is the report's
    verdict, and no failure of this step. Raises OSError.
    """
    paths = project.paths
    report, missing = _own_report(paths)
    changes = compare(project, base) if base.is_dir() else Changes()
    if report is not None:
        manifest = provenance.read_manifest(paths.data_manifest)
        finished = manifest is not None and manifest.inputs == report.inputs
        changes = msgspec.structs.replace(changes, converted=finished)
    _publish(paths, report, changes, missing)
    return OK


def folder_summary(root: Path, base: Path) -> int:
    """`data_summary` for the repository at `root`, whose configuration may be broken: the report then says how.

    Raises BadInput after such a report is written, as every step does that needs the configuration.
    """
    try:
        project = load_project(root)
    except BadInput as broken:
        found = broken.problems
        listed = ProblemList(found.error_count, found.warning_count, found.all)
        _publish(Paths(root.resolve()), None, Changes(configuration=listed), "")
        raise
    return data_summary(project, base)


def _own_report(paths: Paths) -> tuple[DataReport | None, str]:
    """The report of step 01, unless it tells of other data than lies here now; else why there is none."""
    report, missing = read(paths.data_report_json, DataReport)
    if report is None:
        return None, missing
    here = {f"data/raw/{path.name}": provenance.sha256(path) for path in list_raw_files(paths, Problems(keep=0))}
    reported = {name: file.sha256 for name, file in report.files.items()}
    return (report, "") if here == reported else (None, "tells of other data")


def _publish(paths: Paths, report: DataReport | None, changes: Changes, missing: str) -> None:
    provenance.write_json(paths.results / CHANGES, msgspec.to_builtins(changes))
    event = actions.event() if os.environ.get("GITHUB_EVENT_PATH") else {}
    sections = [*_sections(report, changes, missing, _compared_with(event)), *_by_hand(event)]
    provenance.write_text(paths.results / PAGE, "\n\n".join(sections) + "\n")
    actions.summary(sections)
    say(f"report: {paths.relative(paths.results / PAGE)}")


def _sections(report: DataReport | None, changes: Changes, missing: str, commits: str) -> list[str]:
    """Everything but the state of training, in the order of a reviewer's questions."""
    sections = [verdict(report, changes, missing) + (f" {commits}" if commits else ""), *changed(changes)]
    if found := changes.configuration or (report and report.problems):
        sections.append(problems(found, nothing_wrong(report) if report else ""))
    if report is not None and changes.configuration is None:
        sections += [distribution(report, changes), *figures(report), *languages(report), check_table(report)]
    return sections


def _compared_with(event: dict[str, Any]) -> str:
    request = event.get("pull_request") or {}
    head, base = ((request.get(side) or {}).get("sha") for side in ("head", "base"))
    if not head or not base:
        return ""
    return f"Commit `{actions.sha40(head)[:7]}` against `{actions.sha40(base)[:7]}`."


def _by_hand(event: dict[str, Any]) -> list[str]:
    """For a pull request whose run may not ask for training: the command with which a maintainer does.

    The token is read-only on a pull request of a fork, and on one of Dependabot's.
    """
    request = event.get("pull_request")
    if not isinstance(request, dict):
        return []
    head = request.get("head") or {}
    # The repository is null once the fork is deleted.
    if (head.get("repo") or {}).get("full_name") != actions.repository():
        origin, code = "a fork", "the default branch's code"
    elif (request.get("user") or {}).get("login") == DEPENDABOT:
        origin, code = "Dependabot", "its own code"
    else:
        return []
    command = _command(int(request["number"]), actions.sha40(str(head.get("sha"))))
    return [
        f"### Training\n\nThis pull request comes from {origin}, so nothing was started. When its checks pass, a "
        f"maintainer who has read it starts the training of exactly this commit, with {code}:\n\n{command}"
    ]


def _command(number: int, sha: str) -> str:
    return f"```sh\ngh workflow run train.yml -R {actions.repository()} -f pr={number} -f sha={sha}\n```"


def comment_data(project: Project | None, dataset: Path, sha: str, pr: str, training: str, run: str) -> int:
    """Put the report in the artifact folder `dataset` into the pull request's comment, with the state of training.

    The folder was written by the pull request's own code: everything is rendered anew from data_report.json and
    data_changes.json, and nothing of the project is needed. A comment that cannot be written is a warning, never a
    failure. Raises FinetuneError for a malformed SHA or number.
    """
    sha, number, training_run = actions.sha40(sha), actions.parse_number(pr), actions.parse_number(run)
    if number is None:
        raise FinetuneError("PR is empty", "run this for a pull request", "E660")
    github = GitHub.from_environment()
    folder = _folder(dataset)
    report, missing = read(folder / REPORT, DataReport)
    changes, unknown = read(folder / CHANGES, Changes)
    sections = _sections(report, changes or Changes(), missing, f"Commit `{sha[:7]}`.")
    if changes is None:
        sections.insert(1, f"### What changed\n\nNot known: {CHANGES} {unknown}.")
    state = _training(training, training_run, number, sha, passed(report, changes or Changes()))
    head = _head(github, number) or sha
    if head != sha:
        if _tells_of(github, number, head):
            say(f"{sha[:7]} is superseded by {head[:7]}, whose report is in the comment already")
            return OK
        note = f"> [!NOTE]\n> **Superseded:** the pull request is at `{head[:7]}` now, whose report replaces this one."
        sections.insert(0, note)
    sections[0] = f"{_commit_line(sha)}\n{sections[0]}"
    actions.summary([state])
    # The state comes last and is short: the rest makes room for it.
    room = len(state.encode()) + 200
    rest = limited(sections, characters=CHARACTERS - room, size=BYTES - room, link=actions.run_url())
    if address := upsert(github, number, MARKER, [rest, state], actions.run_url()):
        say(f"comment: {address}")
    return OK


def _folder(dataset: Path) -> Path:
    """Where the reports lie: the artifact keeps the repository's folders, unless one folder held everything."""
    inner = dataset / "benchmarks" / "results"
    return inner if inner.is_dir() else dataset


def _commit_line(sha: str) -> str:
    return f"<!-- commit {sha} -->"


def _head(github: GitHub, number: int) -> str | None:
    """The pull request's head by now; None, with a warning, where GitHub does not say."""
    try:
        return actions.sha40(github.get(f"/repos/{{repo}}/pulls/{number}")["head"]["sha"])
    except (FinetuneError, KeyError, TypeError) as error:
        why = error.message if isinstance(error, FinetuneError) else "GitHub's answer has no head"
        say(f"W660 whether the pull request has moved is not known: {why}")
        return None


def _tells_of(github: GitHub, number: int, sha: str) -> bool:
    """Whether our comment is a later run's report on commit `sha`, which an earlier run must not overwrite."""
    begin = f"{marker_line(MARKER)}\n{_commit_line(sha)}\n"
    try:
        comments = list(github.pages(f"/repos/{{repo}}/issues/{number}/comments"))
    except FinetuneError:
        return False
    return any(row["user"]["login"] == AUTHOR and row["body"].startswith(begin) for row in comments)


def _training(training: str, run: int | None, number: int, sha: str, good: bool) -> str:
    """What request-training did. Its word is compared, never shown."""
    page = f"[run {run}]({actions.run_url(run)})" if run else "a run of the workflow `train`"
    log = f"[log]({actions.run_url()})"
    if training == "requested":
        text = f"🏃 Requested: {page}. Its evaluation becomes a comment here and the status `fine-tune/evaluation`."
    elif training == "known":
        text = f"✅ Not needed: {page} has evaluated exactly this input, and its adapter is still there."
    elif training == "failed":
        text = f"❌ It could not be requested ({log}). A maintainer starts it by hand:\n\n{_command(number, sha)}"
    elif good:
        text = f"⏸️ Not requested: the job that asks for it did not answer ({log})."
    else:
        text = f"⏸️ Not requested: it waits until the checks of the data pass ({log})."
    return f"### Training\n\n{text}"
