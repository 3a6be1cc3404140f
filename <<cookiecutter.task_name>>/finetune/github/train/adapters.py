"""An evaluated adapter on its way from the training runner to the release: packed there, placed here."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from finetune import provenance, sealed
from finetune.config.project import Project
from finetune.console import say
from finetune.errors import OK, FinetuneError, GateFailed, StorageFault
from finetune.github.client import actions
from finetune.github.train import adapter_folder
from finetune.github.train.adapter_folder import ADAPTER, DATA, PREDICTIONS, REPORT, RESULTS, RUN, read_adapter
from finetune.github.train.frozen import read_input
from finetune.github.train.gate import judge
from finetune.paths import Paths


def adapter_at(project: Project) -> Path:
    """Where the workflows put the artifact: build/adapter."""
    return project.paths.root / "build" / "adapter"


def pack(project: Project, work: Path, fingerprint: str) -> int:
    """Gather adapter, report and predictions of the tree `work` in build/adapter, run.json last.

    Raises FinetuneError when a step has not finished in `work` (E633) or the frozen input is of another fingerprint
    (E632), and StorageFault (E637) for a file that may not be packed.
    """
    actions.hex64(fingerprint)
    inputs = project.paths.root / "build" / "input"
    digest = provenance.sha256(inputs / "input.json")
    frozen = read_input(inputs, digest)
    if frozen.fingerprint != fingerprint:
        raise StorageFault("build/input is of another fingerprint", "run the workflow again", "E632")
    with provenance.staged(adapter_at(project)) as folder:
        files = {}
        for source, name in _sources(Paths(project.paths.root / work)):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, target, name)
            files[name] = adapter_folder.PackedFile.of(target)
        run = adapter_folder.RunFacts(
            version=1,
            fingerprint=fingerprint,
            digest=digest,
            sha=frozen.sha,
            pr=frozen.pr,
            repository=actions.repository(),
            run_id=actions.run_id(),
            run_attempt=actions.parse_number(os.environ.get("GITHUB_RUN_ATTEMPT", "")) or 1,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            files=files,
        )
        provenance.write_json(folder / RUN, run.model_dump(mode="json"))
        # By the reader's own rules: nothing is uploaded that the next job would refuse.
        read_adapter(folder, fingerprint)
    say(f"packed {len(files)} files of {frozen.sha[:12]} in build/adapter")
    return OK


def _sources(work: Paths) -> Iterator[tuple[Path, str]]:
    """(file, its name in the artifact): what the steps' manifests name, and nothing that lies beside it."""
    manifest = provenance.read_manifest(work.adapter / provenance.MANIFEST)
    if manifest is None or not sealed.is_current(work.adapter / provenance.MANIFEST, manifest.inputs):
        raise FinetuneError("no finished adapter to pack", "run scripts/03_train.py first", "E633")
    for name in (*manifest.outputs, provenance.MANIFEST):
        yield work.adapter / name, f"{ADAPTER}/{name}"
    if not work.report_yaml.is_file():
        raise FinetuneError("no evaluation report to pack", "run scripts/04_evaluate.py --report-only first", "E633")
    for file in (work.report_yaml, work.report_md, work.report_html):
        yield file, f"{RESULTS}/{file.name}"
    for file in sorted(work.predictions.iterdir()):
        if not file.name.startswith("."):
            yield file, f"{PREDICTIONS}/{file.name}"
    yield work.data_manifest, f"{DATA}/{provenance.MANIFEST}"


def _copy(source: Path, target: Path, name: str) -> None:
    """Copy a regular file; E637 for a name or a kind that has no place in the artifact."""
    if not adapter_folder.is_allowed(name):
        raise StorageFault(f"{ascii(name)[1:-1][:120]} may not be packed", "remove it from models/adapter", "E637")
    try:
        status = source.lstat()
    except FileNotFoundError:
        raise FinetuneError(f"{name} is missing", "run the step that writes it", "E633") from None
    if not stat.S_ISREG(status.st_mode) or status.st_size > adapter_folder.limit_of(name):
        raise StorageFault(f"{name} is no regular file, or too large", "run the step that writes it", "E637")
    shutil.copyfile(source, target, follow_symlinks=False)


def place_adapter(project: Project, fingerprint: str) -> int:
    """Put the adapter of build/adapter and its measurements in place, if this checkout's thresholds let it pass.

    Raises StorageFault (E631, E632) for a damaged or foreign artifact, FinetuneError (E634) when this checkout would
    train something else, GateFailed (E635) with every reason. What lay in place before stays where any is raised.
    """
    from finetune.evaluation.report import write_report
    from finetune.github.train.fingerprint import training_fingerprint

    folder, paths = adapter_at(project), project.paths
    run = read_adapter(folder, actions.hex64(fingerprint))
    if training_fingerprint(project) != fingerprint:
        message = "this checkout would train another adapter than the artifact holds"
        raise FinetuneError(message, "run the workflow again: it looks for the adapter of this commit", "E634")
    if not paths.test.is_file():
        raise FinetuneError("no test set to judge by", "run scripts/02_convert_format.py first", "E410")
    with open(paths.test, "rb") as lines:
        rows = sum(1 for _ in lines)
    verdict = judge(
        project,
        folder / REPORT,
        test_rows=rows,
        test_sha256=provenance.sha256(paths.test),
        predictions=folder / PREDICTIONS,
    )
    reasons = [*verdict.reasons, *_other_data(folder, paths)]
    if reasons or verdict.report is None:
        fix = "see the evaluation's comment; better data or training makes a better adapter, not another threshold"
        raise GateFailed(f"the adapter does not pass: {'; '.join(reasons)}", fix, "E635")
    with provenance.staged(paths.predictions) as target:
        shutil.copytree(folder / PREDICTIONS, target, dirs_exist_ok=True)
    # Rendered here: the artifact's own pages are another machine's words.
    write_report(project, verdict.report)
    with provenance.staged(paths.adapter) as target:
        shutil.copytree(folder / ADAPTER, target, dirs_exist_ok=True)
    say(f"placed the adapter of {actions.run_url(run.run_id)} in {paths.relative(paths.adapter)}")
    return OK


def _other_data(folder: Path, paths: Paths) -> list[str]:
    """Whether the adapter's manifest names the training split that lies here."""
    manifest = provenance.read_manifest(folder / ADAPTER / provenance.MANIFEST) or provenance.NO_MANIFEST
    data = manifest.facts.get("data")
    trained_on = data.get("train_sha256") if isinstance(data, dict) else None
    same = paths.train.is_file() and trained_on == provenance.sha256(paths.train)
    return [] if same else ["adapter/manifest.json: trained on another training split than this checkout's"]
