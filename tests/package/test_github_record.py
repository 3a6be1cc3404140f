"""The record: one branch, one commit, one pull request, and a merge that takes nothing back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune.config.project import Project, load_project
from finetune.console import run
from finetune.errors import IO_FAULT, OK, FinetuneError
from finetune.github.release.bundle import bundle_folder
from finetune.github.release.record import record
from finetune.provenance import MANIFEST, sha256, write_json
from github_fake import Answer
from releasing import ReleasePage, gathered_release, git, release_page

BRANCH = "release-record/v1.2.3"
ITERATION = "iterations/v1.2.3.yaml"
PATHS = sorted([ITERATION, "docs/integration_guide.md", "task_definition.yaml", "README.md", "CHECKLIST.md"])


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with gathered_release(tmp_path_factory.mktemp("released")) as project:
        yield project


@pytest.fixture
def gathered(pristine: Project, tmp_path: Path) -> Project:
    """A copy to commit in; the module's own stays as it is."""
    shutil.copytree(pristine.paths.root, tmp_path / "copy", symlinks=True)
    return load_project(tmp_path / "copy")


@pytest.fixture
def page(gathered: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleasePage]:
    with release_page(gathered, monkeypatch) as github:
        yield github


def writes(page: ReleasePage) -> list[str]:
    return [call for method in ("POST", "PATCH", "PUT", "DELETE") for call in page.calls(method)]


def of(project: Project, branch: str, path: str) -> str:
    return git(project.paths.root, "show", f"{branch}:{path}")


def test_the_record_is_one_commit_on_main(gathered: Project, page: ReleasePage) -> None:
    root = gathered.paths.root
    assert record(gathered) == OK
    assert git(root, "rev-parse", f"{BRANCH}^") == git(root, "rev-parse", "v1.2.3")
    changed = git(root, "diff", "--name-only", f"{BRANCH}^", BRANCH).splitlines()
    assert sorted(changed) == PATHS
    for path in PATHS:
        written = (bundle_folder(gathered) / "record" / path).read_text(encoding="utf-8")
        assert of(gathered, BRANCH, path) == written.strip()
    (pull,) = page.pulls
    assert pull["title"] == "Record release v1.2.3" and "`iterations/v1.2.3.yaml`" in pull["body"]


def test_the_same_tag_again_makes_nothing_new(gathered: Project, page: ReleasePage) -> None:
    assert record(gathered) == OK
    before, head = writes(page), git(gathered.paths.root, "rev-parse", BRANCH)
    assert record(gathered) == OK
    assert writes(page) == before and git(gathered.paths.root, "rev-parse", BRANCH) == head
    assert len(page.pulls) == 1


def test_it_takes_back_nothing_that_main_got_since(gathered: Project, page: ReleasePage) -> None:
    root = gathered.paths.root
    workflow = root / ".github" / "workflows" / "data.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("on: push\n", encoding="utf-8")
    (root / "CHECKLIST.md").write_text("- [x] 7.7 ticked since\n", encoding="utf-8")
    readme = root / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8") + "\nAdded on main.\n", encoding="utf-8")
    task = root / "task_definition.yaml"
    text = task.read_text(encoding="utf-8")
    task.write_text(text.replace("description: Sorts messages", "description: Sorts all messages"), encoding="utf-8")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "Later on main")
    git(root, "checkout", "-q", "v1.2.3")
    assert record(gathered) == OK
    git(root, "checkout", "-q", BRANCH)
    changed = git(root, "diff", "--name-only", "main", BRANCH).splitlines()
    assert sorted(changed) == sorted({*PATHS} - {"CHECKLIST.md"})
    assert "Added on main." in readme.read_text(encoding="utf-8") and "macro_f1 1.000" in readme.read_text(
        encoding="utf-8"
    )
    task = load_project(root).task
    assert (task.description, task.status, task.released_version) == ("Sorts all messages", "released", "1.2.3")


def test_what_cannot_be_edited_any_more_is_left_alone(gathered: Project, page: ReleasePage) -> None:
    root = gathered.paths.root
    (root / "README.md").write_text("# No markers any more\n", encoding="utf-8")
    (root / "task_definition.yaml").write_text("[", encoding="utf-8")
    git(root, "commit", "-q", "-am", "Later on main")
    git(root, "checkout", "-q", "v1.2.3")
    assert record(gathered) == OK
    changed = git(root, "diff", "--name-only", "main", BRANCH).splitlines()
    assert sorted(changed) == sorted([ITERATION, "docs/integration_guide.md", "CHECKLIST.md"])


@pytest.mark.parametrize(
    ("other", "whole"), [("v1.10.0", False), ("v1.2.3-rc.1", True), ("v1.2.2", True), ("notes", True)]
)
def test_a_fix_of_an_older_line_adds_only_its_iteration(
    gathered: Project, page: ReleasePage, other: str, whole: bool
) -> None:
    root = gathered.paths.root
    file = root / "iterations" / f"{other}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("version: x\n", encoding="utf-8")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "Another release")
    git(root, "checkout", "-q", "v1.2.3")
    assert record(gathered) == OK
    changed = git(root, "diff", "--name-only", "main", BRANCH).splitlines()
    assert sorted(changed) == (PATHS if whole else [ITERATION])


def test_once_merged_there_is_nothing_to_record(gathered: Project, page: ReleasePage) -> None:
    root = gathered.paths.root
    assert record(gathered) == OK
    git(root, "update-ref", "refs/heads/main", BRANCH)
    git(root, "update-ref", "-d", f"refs/heads/{BRANCH}")
    page.pulls[0]["state"] = "closed"
    before = writes(page)
    git(root, "checkout", "-q", "v1.2.3")
    assert record(gathered) == OK
    assert writes(page) == before


def test_another_record_of_this_version_on_main_is_refused(gathered: Project, page: ReleasePage) -> None:
    root = gathered.paths.root
    file = root / ITERATION
    file.parent.mkdir(exist_ok=True)
    file.write_text("commit: another\n", encoding="utf-8")
    git(root, "add", ITERATION)
    git(root, "commit", "-q", "-m", "Another")
    git(root, "checkout", "-q", "v1.2.3")
    with pytest.raises(FinetuneError) as failure:
        record(gathered)
    assert failure.value.code == "E642" and writes(page) == []


def test_what_people_changed_on_the_branch_stays(gathered: Project, page: ReleasePage) -> None:
    root = gathered.paths.root
    assert record(gathered) == OK
    git(root, "checkout", "-q", BRANCH)
    (root / "CHECKLIST.md").write_text("- [x] 7.7 ticked by hand\n", encoding="utf-8")
    git(root, "commit", "-q", "-am", "Tick")
    git(root, "checkout", "-q", "v1.2.3")
    before = writes(page)
    assert record(gathered) == OK
    assert writes(page) == before and of(gathered, BRANCH, "CHECKLIST.md") == "- [x] 7.7 ticked by hand"


def change_iteration(project: Project) -> None:
    folder = bundle_folder(project)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    path = folder / "record" / ITERATION
    path.write_text(path.read_text(encoding="utf-8") + "# other\n", encoding="utf-8")
    manifest["outputs"][f"record/{ITERATION}"] = {"sha256": sha256(path), "bytes": path.stat().st_size}
    write_json(folder / MANIFEST, manifest)


def test_a_branch_with_other_content_gets_one_commit_more(gathered: Project, page: ReleasePage) -> None:
    root = gathered.paths.root
    assert record(gathered) == OK
    old = git(root, "rev-parse", BRANCH)
    change_iteration(gathered)
    assert record(gathered) == OK
    assert git(root, "rev-parse", f"{BRANCH}^") == old and of(gathered, BRANCH, ITERATION).endswith("# other")
    assert len(page.pulls) == 1
    patched = next(request for request in page.requests if request.method == "PATCH")
    assert patched.body["force"] is False


def test_a_pull_request_that_a_person_closed_stays_closed(gathered: Project, page: ReleasePage) -> None:
    assert record(gathered) == OK
    page.pulls[0]["state"] = "closed"
    git(gathered.paths.root, "update-ref", "-d", f"refs/heads/{BRANCH}")
    before = writes(page)
    assert record(gathered) == OK
    assert writes(page) == before


def test_a_forks_branch_of_the_same_name_is_not_ours(gathered: Project, page: ReleasePage) -> None:
    page.pulls.append({"number": 1, "state": "closed", "head": {"ref": BRANCH, "repo": {"full_name": "eve/demo"}}})
    page.pulls.append({"number": 2, "state": "closed", "head": {"ref": BRANCH, "repo": None}})
    assert record(gathered) == OK
    assert len(page.pulls) == 3 and page.pulls[-1]["state"] == "open"


@pytest.mark.parametrize("path", ["/git/trees$", "/git/commits$", "/git/refs$", "/pulls$"])
@pytest.mark.parametrize("fault", [{"status": 502}, {"drop": "reply"}, {"drop": "reply", "done": True}])
def test_a_lost_answer_makes_no_second_branch_commit_or_pull_request(
    gathered: Project, page: ReleasePage, path: str, fault: dict[str, object]
) -> None:
    page.fail("POST", path, **fault)
    first = run(record, project=gathered.paths.root)
    assert first in (OK, IO_FAULT)
    assert first == OK or record(gathered) == OK
    assert len(page.pulls) == 1
    assert git(gathered.paths.root, "rev-list", "--count", f"v1.2.3..{BRANCH}") == "1"


@pytest.mark.parametrize("path", ["/git/trees$", "/git/commits$", "/git/refs$", "/pulls$"])
def test_whatever_fails_for_good_the_next_run_completes(gathered: Project, page: ReleasePage, path: str) -> None:
    page.fail("POST", path, 503, times=99)
    assert run(record, project=gathered.paths.root) == IO_FAULT
    page.faults.clear()
    assert record(gathered) == OK
    assert len(page.pulls) == 1


def test_where_workflows_may_not_open_pull_requests_it_says_what_to_do(gathered: Project, page: ReleasePage) -> None:
    page.routes["POST /repos/acme/demo/pulls"] = Answer(
        403, {"message": "GitHub Actions is not permitted to create or approve pull requests."}
    )
    with pytest.raises(FinetuneError) as failure:
        record(gathered)
    assert failure.value.code == "E650" and failure.value.exit_code == IO_FAULT
    assert f"https://github.com/acme/demo/compare/main...{BRANCH}?expand=1" in failure.value.fix
    assert of(gathered, BRANCH, ITERATION)


def test_a_moving_branch_is_never_forced(gathered: Project, page: ReleasePage) -> None:
    root = gathered.paths.root
    assert record(gathered) == OK
    change_iteration(gathered)
    page.routes["PATCH /repos/acme/demo/git/refs/heads/{name:path}"] = Answer(
        422, {"message": "Update is not a fast forward"}
    )
    old = git(root, "rev-parse", BRANCH)
    with pytest.raises(FinetuneError) as failure:
        record(gathered)
    assert failure.value.exit_code == IO_FAULT and git(root, "rev-parse", BRANCH) == old


def test_a_bundle_without_a_record_records_nothing(gathered: Project, page: ReleasePage) -> None:
    folder = bundle_folder(gathered)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["outputs"] = {name: row for name, row in manifest["outputs"].items() if not name.startswith("record/")}
    write_json(folder / MANIFEST, manifest)
    shutil.rmtree(folder / "record")
    assert record(gathered) == OK
    assert page.calls() == []
