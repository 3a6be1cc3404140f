"""What was published: the receipts of step 08 and the report they belong to, refused unless they fit together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from finetune.config.project import Project
from finetune.errors import FinetuneError
from finetune.evaluation.report_schema import EvaluationReport
from finetune.github.release.tags import Tag
from finetune.provenance import MANIFEST, NO_MANIFEST, read_manifest, sha256
from finetune.receipts import RECEIPTS, Receipt, Receipts, read_receipts

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Published:
    """One release: the tag's commit, what was measured, and where each form of the model now is."""

    project: Project
    tag: Tag
    commit: str
    """of this repository"""
    repository: str
    """owner/name on GitHub"""
    server: str
    """https://github.com, or the company's own"""
    fingerprint: str
    report: EvaluationReport
    receipts: Receipts

    def receipt(self, kind: str) -> Receipt:
        """Receipt of adapter, gguf or merged."""
        receipt = self.receipts.of(kind)
        assert receipt, "read_published refuses an upload without it"
        return receipt

    def hub_url(self, kind: str, path: str | None = None) -> str:
        """The repository on the Hub at its commit, or one of its files: a commit cannot be moved, a tag can."""
        receipt = self.receipt(kind)
        where = f"{self.receipts.endpoint}/{receipt.repo}"
        return f"{where}/tree/{receipt.commit}" if path is None else f"{where}/resolve/{receipt.commit}/{path}"

    def bytes_of(self, artefact: str) -> int | None:
        """Size of adapter, merged model or a quantisation as published; None for what is no file of ours.

        The report's own sizes count the manifests of the steps, which hold durations and so differ from run to run.
        """
        if artefact in ("adapter", "merged"):
            return self.receipt(artefact).bytes
        file = self.receipt("gguf").files.get(f"{self.project.task.task_name}-{artefact}.gguf")
        return file.bytes if file else None

    @property
    def release_url(self) -> str:
        return f"{self.server}/{self.repository}/releases/tag/{self.tag.name}"


def read_published(project: Project, tag: Tag, commit: str) -> Published:
    """The release of this tag as steps 07 and 08 left it.

    Raises FinetuneError when the receipts are missing, of another version or of other files (E645), or the report is
    missing, not passed or about another test set (E646).
    """
    from finetune.evaluation.gate import PASSED
    from finetune.evaluation.report import read_report
    from finetune.github.client.actions import repository, server_url
    from finetune.github.train.fingerprint import training_fingerprint

    receipts = _read_receipts(project, tag)
    report = read_report(project)
    shown = project.paths.relative(project.paths.report_yaml)
    if report is None or report.verdict != PASSED:
        verdict = "missing" if report is None else f"not passed ({ascii(report.verdict)[:60]})"
        raise FinetuneError(f"{shown} is {verdict}", "run scripts/04_evaluate.py and 07_verify_export.py", "E646")
    if not project.paths.test.is_file() or report.data.test_sha256 != sha256(project.paths.test):
        raise FinetuneError(f"{shown} is about another test set", "run 02, 04 and 07 again", "E646")
    return Published(project, tag, commit, repository(), server_url(), training_fingerprint(project), report, receipts)


def _read_receipts(project: Project, tag: Tag) -> Receipts:
    from finetune.hub.plan import CARD, KINDS, folder_of, repo_of

    path, receipts = project.paths.publish_plan / RECEIPTS, read_receipts(project.paths)
    shown, fix = project.paths.relative(path), f"run scripts/08_upload_hf.py --version {tag.name} first"
    if receipts is None:
        raise FinetuneError(f"no receipts of an upload in {shown}", fix, "E645")
    if receipts.version != tag.version or not receipts.endpoint.startswith(("https://", "http://")):
        raise FinetuneError(f"{shown} is of version {ascii(receipts.version)[:40]}, not {tag.version}", fix, "E645")
    for kind in KINDS:
        receipt = receipts.of(kind)
        if receipt is None or receipt.repo != repo_of(project, kind) or not _COMMIT.fullmatch(receipt.commit):
            raise FinetuneError(f"{shown} has no receipt of {repo_of(project, kind)}", fix, "E645")
        manifest = read_manifest(folder_of(project, kind) / MANIFEST) or NO_MANIFEST
        here = {name: output.sha256 for name, output in manifest.outputs.items() if name != CARD}
        there = {name: file.sha256 for name, file in receipt.files.items()}
        if not here or not here.items() <= there.items():
            raise FinetuneError(f"{receipt.repo} holds other files than {kind} here", fix, "E645")
    return receipts
