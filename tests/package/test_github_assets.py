"""What a release gathers: files that check out, a record that counts as evidence, edits that touch nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune.config.project import Project, load_project
from finetune.errors import OK, FinetuneError, Problems
from finetune.evaluation.report import read_report
from finetune.github.release import assets
from finetune.github.release.assets import release_assets
from finetune.github.release.bundle import bundle_folder, read_bundle
from finetune.github.release.edits import mark_released, replace_results
from finetune.github.release.record_files import overlaid
from finetune.github.release.tags import Tag
from finetune.provenance import tree_digest
from pipeline_fakes import Oracle, decide, with_adapter, with_data, with_exports
from release_tree import TASK, make_release, measure
from releasing import commit_and_tag, git, on_tag, released, write_receipts
from reports import rewrite

MakeProject = Callable[..., Project]
README = """# small-task

macro_f1, `billing`, scripts/03_train.py

<!-- results:start -->
none
<!-- results:end -->
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    patch = pytest.MonkeyPatch()
    project = released(tmp_path_factory.mktemp("released"), patch)
    assert release_assets(project) == OK
    yield project
    patch.undo()


def test_the_models_are_linked_with_their_hash_and_never_attached(project: Project) -> None:
    folder = bundle_folder(project)
    assert not [path for path in folder.rglob("*") if path.suffix in (".gguf", ".safetensors")]
    notes = (folder / "notes.md").read_text(encoding="utf-8")
    receipts = (project.paths.publish_plan / "receipts.json").read_bytes()
    assert (folder / "receipts.json").read_bytes() == receipts
    rows = yaml.safe_load(receipts)["repositories"]
    for row in rows:
        for path, file in row["files"].items():
            assert f"(https://hub.example/{row['repo']}/resolve/{row['commit']}/{path})" in notes
            assert file["sha256"] in notes


def test_checksums_are_read_by_sha256sum(project: Project, tmp_path: Path) -> None:
    for kind in ("adapter", "gguf", "merged"):
        shutil.copytree(getattr(project.paths, kind), tmp_path / kind)
        shutil.copy(project.paths.publish_plan / kind / "README.md", tmp_path / kind)
    for path in bundle_folder(project).iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 26 and done.stdout.count(": OK") == 26
    (tmp_path / "gguf" / "small-task-f16.gguf").write_bytes(b"one flipped byte")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_a_document_too_large_for_github_is_linked_instead(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    huge = project.paths.report_html
    before = huge.read_bytes()
    # GitHub's limit is 2 GiB (test_github_release_page.py has a file of that size); hashing that much takes seconds.
    monkeypatch.setattr(assets, "MAX_ASSET", 1024**2)
    os.truncate(huge, 1024**2)
    try:
        assert release_assets(project) == OK
        bundle = read_bundle(project, Tag("v1.2.3"), git(project.paths.root, "rev-parse", "HEAD"))
        assert "evaluation_report.html" not in bundle.assets and "evaluation_report.md" in bundle.assets
        assert "Too large to attach" in bundle.notes
        line = next(line for line in bundle.notes.splitlines() if "[evaluation_report.html]" in line)
        digest = subprocess.run(["sha256sum", str(huge)], capture_output=True, text=True, check=True).stdout.split()[0]
        assert "https://github.com/acme/demo/actions/runs/55" in line and digest in line
    finally:
        huge.write_bytes(before)
        monkeypatch.undo()
        on_tag(monkeypatch, project)
        assert release_assets(project) == OK


def test_the_bundle_reads_back_as_it_was_gathered(project: Project) -> None:
    bundle = read_bundle(project, Tag("v1.2.3"), git(project.paths.root, "rev-parse", "HEAD"))
    assert set(bundle.record) == {
        "iterations/v1.2.3.yaml",
        "docs/integration_guide.md",
        "task_definition.yaml",
        "README.md",
        "CHECKLIST.md",
    }
    assert bundle.assets["iteration.yaml"].read_text(encoding="utf-8") == bundle.record["iterations/v1.2.3.yaml"]


def test_gathering_leaves_the_repository_as_it_is(project: Project) -> None:
    assert git(project.paths.root, "status", "--porcelain") == ""


def test_a_second_measurement_gives_the_same_record_and_receipts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durations, speeds and the size of the manifests that hold them differ from run to run; nothing recorded may."""
    project = released(tmp_path, monkeypatch)
    assert release_assets(project) == OK
    first = read_bundle(project, Tag("v1.2.3"), git(tmp_path, "rev-parse", "HEAD"))
    files = {name: path.read_bytes() for name, path in first.assets.items()}
    before = read_report(project)
    assert before
    measure(project)

    def elsewhere(values: dict[str, Any]) -> None:
        values["provenance"]["created"] = before.provenance.created  # the training run's, which step 07 leaves alone
        for row in values["artefacts"]:
            row |= {"tokens_per_s": 123.0, "bytes": (row.get("bytes") or 0) + 7}

    rewrite(project, elsewhere)
    assert release_assets(project) == OK
    again = read_bundle(project, Tag("v1.2.3"), git(tmp_path, "rev-parse", "HEAD"))
    for name in ("receipts.json", "iteration.yaml", "integration_guide.md"):
        assert again.assets[name].read_bytes() == files[name], name
    for name in ("iterations/v1.2.3.yaml", "README.md", "task_definition.yaml"):
        assert again.record[name] == first.record[name], name


def _no_receipts(project: Project) -> None:
    (project.paths.publish_plan / "receipts.json").unlink()


def _of_another_version(project: Project) -> None:
    write_receipts(project, "1.2.2")


def _of_other_files(project: Project) -> None:
    path = project.paths.publish_plan / "receipts.json"
    text = path.read_text(encoding="utf-8")
    sha = yaml.safe_load(text)["repositories"][1]["files"]["small-task-f16.gguf"]["sha256"]
    path.write_text(text.replace(sha, "0" * 64), encoding="utf-8")


def _without_commit(project: Project) -> None:
    path = project.paths.publish_plan / "receipts.json"
    path.write_text(path.read_text(encoding="utf-8").replace("3" * 40, "main"), encoding="utf-8")


def _failed_report(project: Project) -> None:
    text = project.paths.report_yaml.read_text(encoding="utf-8")
    project.paths.report_yaml.write_text(text.replace("verdict: passed", "verdict: failed"), encoding="utf-8")


def _another_test_set(project: Project) -> None:
    with open(project.paths.test, "a", encoding="utf-8") as file:
        file.write("\n")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (_no_receipts, "E645"), (_of_another_version, "E645"), (_of_other_files, "E645"), (_without_commit, "E645"),
        (_failed_report, "E646"), (_another_test_set, "E646"),
    ],
)  # fmt: skip
def test_what_does_not_belong_to_this_version_is_not_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Project], None], code: str
) -> None:
    project = released(tmp_path, monkeypatch)
    damage(project)
    with pytest.raises(FinetuneError) as failure:
        release_assets(project)
    assert failure.value.code == code and failure.value.fix
    assert not bundle_folder(project).exists()


def test_a_readme_without_markers_is_left_alone_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("# Ours\n", encoding="utf-8")
    project = released(tmp_path, monkeypatch)
    assert release_assets(project) == OK
    assert "W640" in capsys.readouterr().err
    assert not (bundle_folder(project) / "record" / "README.md").exists()


def test_once_merged_the_record_is_the_evidence_the_checklist_asks_for(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.evaluation import predictions, stage

    monkeypatch.setattr(
        predictions, "open_backend", lambda project, name: Oracle(project, 0 if name == "adapter" else 6)
    )
    project = with_adapter(with_data(make_project()))
    root = project.paths.root
    assert stage.evaluate(project) == OK
    with_exports(project)
    write_receipts(project)
    (root / "README.md").write_text(README, encoding="utf-8")
    ticked = "- [x] 7.7 a person ticked this\n"
    (root / "CHECKLIST.md").write_text(ticked, encoding="utf-8")
    commit_and_tag(project)
    on_tag(monkeypatch, project)
    before = decide(project)
    items = ("6.13", "6.14", "6.15", "7.3", "7.5", "7.6")
    assert {before[item].status for item in items} == {"open"}

    assert release_assets(load_project(root)) == OK
    checklist = (bundle_folder(project) / "record" / "CHECKLIST.md").read_text(encoding="utf-8")
    shutil.copytree(bundle_folder(project) / "record", root, dirs_exist_ok=True)
    after = decide(load_project(root))
    assert {item: after[item].finding.text for item in items if after[item].status != "done"} == {}
    # The proposed checklist says what the tree will say when it is merged, and keeps what a person ticked.
    for item in items:
        assert f"- [x] {item} " in checklist and after[item].finding.text in checklist
    assert "- [x] 7.7 " in checklist
    iteration = yaml.safe_load((root / "iterations" / "v1.2.3.yaml").read_text(encoding="utf-8"))
    assert (
        sum(iteration["data"]["rows"].values()) == 60
        and iteration["data"]["rows"]["test"] == iteration["metrics"]["rows"]
    )
    assert iteration["commit"] == git(root, "rev-parse", "HEAD")
    assert {row["name"] for row in iteration["artefacts"]} == {"merged", "f16", "Q8_0"}


def test_the_overlay_shows_new_files_and_links_all_others(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("a.txt", "docs/old.md", "docs/guide.md", "models/big.bin"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"old {name}")
    before = tree_digest(root)
    with overlaid(root, {"docs/guide.md": "new", "iterations/v1.yaml": "made", "deep/er/x": "y"}) as view:
        assert (view / "docs/guide.md").read_text() == "new" and (view / "docs/old.md").read_text() == "old docs/old.md"
        assert (view / "iterations/v1.yaml").read_text() == "made" and (view / "deep/er/x").read_text() == "y"
        assert (view / "models").is_symlink() and (view / "models/big.bin").read_text() == "old models/big.bin"
    assert not view.exists() and tree_digest(root) == before


GENERATED = """\
# What the task is; status: draft in a comment
version: 1                         # of this file's format
task_name: small-task
task_type: classification
description: 'status: draft, it''s 🙂'
language: en
status: draft                      # the release writes `released` and its version here
released_version: null
# SPDX identifier
license: Apache-2.0

input: {description: a message, max_chars: 400, example: 'released_version: null'}
output:
  field: label
  description: one of
  labels:
    - name: a
      description: "first"   # a comment inside
    - {name: b, description: second}
  max_new_tokens: 8
  example: a
system_prompt: |-
  status: draft
  Answer with one of 全形　空格
  {labels}

metrics: {primary: macro_f1, threshold: 0.8}
data: {expected_rows: 60}
resources: {preset: x, gpu_memory_gb: 0}
hub: {namespace: acme, adapter: acme/a, gguf: acme/g, merged: acme/m}
# the end
"""


def parsed(tmp_path: Path, text: str) -> dict[str, object]:
    make = tmp_path / "parsed"
    if not make.exists():
        make_release(make)
    (make / "task_definition.yaml").write_bytes(text.encode("utf-8"))
    return load_project(make).task.model_dump()


@pytest.mark.parametrize(
    ("status", "version"),
    [
        ("status: draft                      #", "released_version: null"),
        ("status: 'draft' #", "released_version: ~  # none"),
        ('status: "draft"  #', "released_version:"),
        ("status:   draft #", "released_version:    # not yet"),
        ("status: released #", "released_version: '1.2.2'"),
        ("status: released #", 'released_version: "1.10.0"  # before'),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_marking_the_task_released_changes_two_values_and_no_other_byte(
    tmp_path: Path, status: str, version: str, newline: str
) -> None:
    text = GENERATED.replace("status: draft                      #", status, 1)
    text = text.replace("released_version: null\n", f"{version}\n", 1).replace("\n", newline)
    edited = mark_released(text, "1.2.3")
    before, after = text.split(newline), edited.split(newline)
    assert len(before) == len(after)
    assert [number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] in (
        [6, 7],
        [7],
    )
    assert after[6].partition("#")[1:] == before[6].partition("#")[1:]
    assert after[7].partition("#")[1:] == before[7].partition("#")[1:]
    assert parsed(tmp_path, edited) == parsed(tmp_path, text) | {"status": "released", "released_version": "1.2.3"}
    assert mark_released(edited, "1.2.3") == edited


def test_missing_keys_are_added_at_the_end(tmp_path: Path) -> None:
    lines = GENERATED.splitlines(keepends=True)
    text = "".join(lines[:6] + lines[8:])
    edited = mark_released(text, "2.0.0-rc.1")
    assert edited == text + 'status: released\nreleased_version: "2.0.0-rc.1"\n'
    assert mark_released(text.rstrip("\n"), "2.0.0") == text + 'status: released\nreleased_version: "2.0.0"\n'
    assert parsed(tmp_path, edited)["released_version"] == "2.0.0-rc.1"


@pytest.mark.parametrize(
    "text",
    ["", "status: draft\n", "a: [", yaml.safe_dump(TASK) + "...\n", yaml.safe_dump(TASK, default_flow_style=True)],
)
def test_what_cannot_be_edited_so_is_refused(text: str) -> None:
    with pytest.raises(FinetuneError) as failure:
        mark_released(text, "1.2.3")
    assert failure.value.code == "E647"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_results_stand_between_the_first_markers(newline: str) -> None:
    text = newline.join(
        [
            "# Ours",
            "<!--results:start-->",
            "old | \\1",
            "<!-- results:end -->",
            "kept",
            "<!-- results:start --> a <!-- results:end -->",
            "",
        ]
    )
    changed = replace_results(text, "new \\1\n\n| a |\n")
    assert changed == text.replace("old | \\1", newline.join(["new \\1", "", "| a |"]))
    assert replace_results(changed, "new \\1\n\n| a |\n") == changed
    assert replace_results("# no markers", "x") is None
    assert replace_results("<!-- results:end --> <!-- results:start -->", "x") is None


def test_warnings_of_the_record_are_not_errors(project: Project) -> None:
    from finetune.github.release.published import read_published
    from finetune.github.release.record_files import record_files

    problems = Problems()
    commit = git(project.paths.root, "rev-parse", "HEAD")
    assert record_files(read_published(project, Tag("v1.2.3"), commit), problems) and not problems.all
