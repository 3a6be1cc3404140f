"""Between a commit and the GPU: the input is copied once, checked by main's code, and named byte by byte.

What is approved is what is trained: the GPU job never sees the commit, only this folder, and takes it apart again only
when its manifest has the digest that the freezing job told.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from finetune import provenance
from finetune.config.project import Project, load_project
from finetune.console import say
from finetune.data.manifest import DataFacts, read_data_manifest
from finetune.data.stage import convert
from finetune.errors import OK, FinetuneError, Problems
from finetune.github.client import actions
from finetune.github.client.statuses import set_status
from finetune.github.train import policy
from finetune.github.train.base_access import check_way
from finetune.github.train.budget import check_budget
from finetune.github.train.candidate import RAW, fetch_blobs, read_tree
from finetune.github.train.checkout import head, input_files, tracked
from finetune.github.train.evaluated_runs import known_run
from finetune.github.train.fingerprint import training_fingerprint
from finetune.github.train.frozen import (
    FILES,
    INPUT,
    FrozenFile,
    FrozenInput,
    PolicyChange,
    Rows,
    Source,
    SplitFacts,
    read_input,
)

if TYPE_CHECKING:
    from finetune.github.client.api import GitHub


def freeze(project: Project, sha: str, pr: str, source: str, gated: str = "") -> int:
    """Write build/input and output `fingerprint`, `digest` and `reuse` (run id, 0 for none); status pending.

    `source` "repository" takes task, configurations, data and the training job's code from build/candidate, where the
    commit is checked out; "fork" takes main's, with the data and configurations of the commit in their place. `gated`
    is the variable GATED_BASE: how a gated base model reaches the GPU. Raises
    BadInput or FinetuneError for an input that is refused, after the commit's status says so; ApiError when GitHub
    fails.
    """
    from finetune.github.client.api import GitHub

    sha, number = actions.sha40(sha), actions.parse_number(pr)
    if source not in ("repository", "fork"):
        raise FinetuneError("SOURCE is neither repository nor fork", "it is an output of the resolve step", "E629")
    github = GitHub.from_environment()
    try:
        frozen = _write(project, github, sha, number, cast(Source, source))
        reuse = known_run(github, frozen.fingerprint)
        if not reuse:
            check_way(load_project(_folder(project) / FILES), gated)
    except FinetuneError:
        _say_refused(github, sha)
        raise
    for change in frozen.policy_changes:
        say(f"W620 policy change: {change.path}: {change.detail}")
    actions.set_output("fingerprint", frozen.fingerprint)
    actions.set_output("digest", provenance.sha256(_folder(project) / INPUT))
    actions.set_output("reuse", reuse)
    description = f"evaluated before, in run {reuse}" if reuse else "waiting for the training runner"
    set_status(github, sha, "pending", description, actions.run_url(reuse or None))
    return OK


def thaw(project: Project, digest: str, to: Path) -> int:
    """Verify build/input and make its files all that lies at `to`, a folder below build/.

    Raises what `read_input` raises, and FinetuneError (E628) for another place; `to` is then left as it was.
    """
    build = project.paths.root / "build"
    target = Path(os.path.abspath(project.paths.root / to))
    taken = (_folder(project), build / "candidate", build / "adapter")
    if target.parent != build or target in taken or build.resolve() != build:
        raise FinetuneError(f"{to} is no folder of its own in build/", "use --to build/work", "E628")
    frozen = read_input(_folder(project), digest)
    with provenance.staged(target) as folder:
        _copy(_folder(project) / FILES, frozen.files, folder)
        for name, facts in frozen.files.items():
            if provenance.sha256(folder / name) != facts.sha256:
                raise FinetuneError("a file changed while it was unpacked", "run the job again", "E627")
    say(f"{len(frozen.files)} files of commit {frozen.sha[:12]}, as they were frozen")
    return OK


def _folder(project: Project) -> Path:
    return project.paths.root / "build" / "input"


def _write(project: Project, github: GitHub, sha: str, number: int | None, source: Source) -> FrozenInput:
    """Make build/input, manifest last, and return the manifest."""
    with provenance.staged(_folder(project)) as folder:
        files = folder / FILES
        changes = _gather(project, github, sha, source, files)
        (files / RAW).mkdir(parents=True, exist_ok=True)  # where there is no data, the conversion says so
        theirs = load_project(files)
        facts, rows = _check(project, theirs, source)
        listed = {
            path.relative_to(files).as_posix(): FrozenFile.of(path)
            for path in sorted(files.rglob("*"))
            if path.is_file()
        }
        changes += policy.config_changes(project, theirs) + policy.split_changes(project, theirs)
        frozen = FrozenInput(
            version=1,
            sha=sha,
            pr=number,
            source=source,
            main_sha=head(project.paths.root),
            repository=actions.repository(),
            files=listed,
            fingerprint=training_fingerprint(theirs),
            test=SplitFacts(sha256=facts.test_sha256, rows=facts.rows["test"]),
            rows=Rows(**{split: facts.rows[split] for split in ("train", "valid", "test")}),
            policy_changes=tuple(changes),
        )
        provenance.write_json(folder / INPUT, frozen.model_dump(mode="json"))
    say(f"froze {len(listed)} files, {rows} training rows")
    return frozen


def _gather(project: Project, github: GitHub, sha: str, source: str, files: Path) -> list[PolicyChange]:
    """Copy the input to `files`; returns what differs from main outside of data and configuration values."""
    root = project.paths.root
    candidate, own = root / "build" / "candidate", tracked(root)
    if source == "repository":
        if head(candidate) != sha:
            raise FinetuneError(f"build/candidate is not commit {sha[:12]}", "check SHA out there", "E622")
        theirs = tracked(candidate)
        _copy(candidate, input_files(candidate, theirs), files)
        return policy.code_changes(own, theirs)
    tree = read_tree(github, sha)
    fetched = fetch_blobs(github, sha, candidate, tree)
    # The fork's set of data files replaces main's, so that a row or file it removed is gone here too.
    _copy(root, [path for path in input_files(root, own) if not path.startswith(f"{RAW}/")], files)
    _copy(candidate, fetched, files)
    return policy.untaken_changes(own, tree)


def _check(project: Project, frozen: Project, source: str) -> tuple[DataFacts, int]:
    """Main's code over the input, in a scratch copy: (facts of the conversion, training rows it writes)."""
    problems = Problems()
    policy.check_base(frozen, problems)
    if source == "fork":
        policy.check_fork_config(project, frozen, problems)
    problems.raise_if_errors()
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=project.paths.root / "build") as name:
        scratch = Path(name)
        shutil.copytree(frozen.paths.raw, scratch / RAW)
        shutil.copytree(frozen.paths.training_config.parent, scratch / "configs")
        shutil.copy(frozen.paths.task_definition, scratch)
        copy = load_project(scratch)
        convert(copy)
        with open(copy.paths.train, "rb") as lines:
            rows = sum(1 for _ in lines)
        manifest = read_data_manifest(copy.paths.data_manifest)
    assert manifest is not None
    check_budget(project, frozen, rows, problems)
    problems.raise_if_errors()
    return manifest.facts, rows


def _copy(root: Path, names: Iterable[str], target: Path) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target / name, follow_symlinks=False)


def _say_refused(github: GitHub, sha: str) -> None:
    """The commit shows that it will not be trained; the reason with its texts stands in the run."""
    try:
        set_status(github, sha, "error", "not trained: the run says why", actions.run_url())
    except FinetuneError as unsaid:
        say(f"W621 no status on the commit: {unsaid}")
