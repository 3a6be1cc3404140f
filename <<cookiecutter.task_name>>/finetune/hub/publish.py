"""Step 08: three Hub repositories, each complete in one commit, checked byte for byte, tagged last.

Repositories first, then commits, then the comparison of every hash, then tags: a reader of main sees the old or the
whole new release, and a tag exists only for a release whose three parts are all there. Whatever was interrupted, the
same command finishes it; what is published already is left alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from finetune.config.project import Project
from finetune.console import report_problems, say, table
from finetune.errors import BAD_INPUT, GATE_FAILED, OK, FinetuneError, Problems
from finetune.evaluation.report_schema import EvaluationReport
from finetune.hub.cards import render_card
from finetune.hub.checks import GATE_CODES, Measured, check_release, measured_names
from finetune.hub.credentials import find_credentials
from finetune.hub.plan import CARD, KINDS, ReleasePlan, artefact_files, plan_release, resolve_version
from finetune.hub.release_manifest import Changes
from finetune.hub.remote import Remote, preview
from finetune.hub_retry import describe
from finetune.interrupts import rerun
from finetune.provenance import write_json, write_text
from finetune.receipts import RECEIPTS, PublishedFile, Receipt, Receipts, read_receipts

PLACEHOLDER = "your-namespace"


@rerun("it finishes what is not published yet")
def publish(project: Project, dry_run: bool = False, version: str | None = None, force: bool = False) -> int:
    """Publish the release, or with `dry_run` write its cards and plan below results/publish and upload nothing.

    A version whose receipts are here is not looked at again unless `force` is set. Returns 2 or 76 after naming every
    reason against publishing; raises FinetuneError for a wrong version (E817) or token (E809, E810), for a machine told
    to stay offline (E820), missing rights (E811), a tag with other content (E812) or a file of others in the way
    (E821), and StorageFault when the Hub fails (E813 to E815).
    """
    from finetune.evaluation.report import read_report

    if project.smoke and not dry_run:
        fix = "use --dry-run, or run the pipeline without --smoke"
        raise FinetuneError("a smoke run is never published", fix, "E816")
    version = resolve_version(project, version, dry_run)
    report, problems = read_report(project), Problems()
    _check_namespace(project, dry_run, problems)
    measured = check_release(project, report, problems)
    codes = {problem.code for problem in problems.errors}
    # A smoke model is too small to pass the gates; its cards can still be looked at.
    shown_only = dry_run and project.smoke and codes <= GATE_CODES and set(measured) == set(measured_names(project))
    if project.smoke:
        problems.in_smoke_run()
    report_problems(problems)
    if codes and not shown_only:
        return GATE_FAILED if codes & GATE_CODES else BAD_INPUT
    assert report is not None
    plan = plan_release(project, version, _write_cards(project, version, report, measured))
    _show(project, plan)
    if dry_run:
        changes = _preview(project, plan)
        write_json(project.paths.publish_plan / "plan.json", plan.to_json(project, changes))
        say(f"nothing was uploaded; cards and plan.json are in {project.paths.relative(project.paths.publish_plan)}")
        return OK
    if not force and _is_published(project, plan):
        say(f"{plan.tag} is published; --force compares it with the Hub again")
        return OK
    receipts = _upload(project, plan)
    write_json(project.paths.publish_plan / RECEIPTS, receipts.model_dump(mode="json"))
    for receipt in receipts.repositories:
        say(f"published {receipt.url}")
    return OK


def _check_namespace(project: Project, dry_run: bool, problems: Problems) -> None:
    """The template's answer for a namespace is nobody's; a dry run shows its plan all the same."""
    hub = project.task.hub
    if PLACEHOLDER in (hub.namespace, *(repo.split("/")[0] for repo in (hub.adapter, hub.gguf, hub.merged))):
        problems.add(
            project.paths.relative(project.paths.task_definition),
            "W331" if dry_run else "E331",
            f"the models would go to {PLACEHOLDER}, which is a placeholder",
            "write your Hugging Face user or organisation into hub: namespace, adapter, gguf and merged",
            key="hub.namespace",
        )


def _write_cards(
    project: Project, version: str, report: EvaluationReport, measured: dict[str, Measured]
) -> dict[str, Path]:
    cards = {}
    for kind in KINDS:
        cards[kind] = project.paths.publish_plan / kind / CARD
        files = list(artefact_files(project, kind))
        write_text(cards[kind], render_card(project, kind, f"v{version}", report, measured, files))
    return cards


def _upload(project: Project, plan: ReleasePlan) -> Receipts:
    """Everything that talks to the Hub; returns the receipts."""
    credentials = find_credentials()
    who = credentials.check([planned.repo for planned in plan.repositories])
    say(f"publishing {plan.tag} to {_endpoint()} as {who}")
    remotes = [Remote(planned, credentials, project.task.hub.private) for planned in plan.repositories]
    for remote in remotes:
        remote.prepare()
    # Before any upload: what is refused anywhere is refused everywhere.
    done = {remote.plan.repo: remote.tagged() for remote in remotes}
    for remote in remotes:
        if not done[remote.plan.repo]:
            changes = remote.snapshot("main", manifest=True).changes(remote.plan)
            say(f"  {remote.plan.repo}: {changes.sentence()}")
            changes.require_free(remote.plan.repo)
    commits: dict[str, str] = {}
    for remote in remotes:
        repo = remote.plan.repo
        commits[repo] = done[repo] or remote.commit()
        say(f"  {repo}: {'tagged already' if done[repo] else 'complete'} at {commits[repo][:12]}")
    for remote in remotes:
        remote.verify(commits[remote.plan.repo])
    for remote in remotes:
        if not done[remote.plan.repo]:
            remote.tag(commits[remote.plan.repo])
    receipts = tuple(
        Receipt(
            kind=planned.kind,
            repo=planned.repo,
            commit=commits[planned.repo],
            tag=planned.tag,
            url=f"{_endpoint()}/{planned.repo}/tree/{planned.tag}",
            files={file.path: PublishedFile(bytes=file.bytes, sha256=file.sha256) for file in planned.files},
        )
        for planned in plan.repositories
    )
    return Receipts(version=plan.version, tag=plan.tag, digest=plan.digest, endpoint=_endpoint(), repositories=receipts)


def _preview(project: Project, plan: ReleasePlan) -> dict[str, Changes]:
    """What the release would change, by repository; empty, with a word about it, where the Hub cannot be asked."""
    found: dict[str, Changes] = {}
    if project.smoke:
        return found
    for planned in plan.repositories:
        try:
            found[planned.repo] = preview(planned)
        except Exception as error:  # whatever hinders: a dry run needs neither network nor rights
            say(f"  what would change on the Hub is unknown: {planned.repo} cannot be read ({describe(error)})")
            break
        say(f"  {planned.repo}: {found[planned.repo].sentence()}")
    return found


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _is_published(project: Project, plan: ReleasePlan) -> bool:
    """Receipts of exactly these bytes at this endpoint lie here."""
    receipts = read_receipts(project.paths)
    return receipts is not None and (receipts.digest, receipts.endpoint) == (plan.digest, _endpoint())


def _show(project: Project, plan: ReleasePlan) -> None:
    for planned in plan.repositories:
        visibility = "private" if project.task.hub.private else "public"
        rows = [(file.path, f"{file.bytes:,}", file.sha256[:12]) for file in planned.files]
        rows.append((f"{len(planned.files)} files", f"{planned.bytes:,}", ""))
        table(f"{planned.repo} ({visibility}), tag {planned.tag}", ("file", "bytes", "sha256"), rows)
