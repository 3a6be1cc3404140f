"""Which tags may be released: versions, on main, not moved, not released from another commit; and what is reused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.config.project import Project
from finetune.console import run
from finetune.errors import BAD_INPUT, IO_FAULT, OK, FinetuneError
from finetune.github.release.eligible import release_resolve
from finetune.github.release.tags import Tag, release_tag
from finetune.github.train.fingerprint import training_fingerprint
from github_fake import Answer, paged
from releasing import ReleasePage, commit_and_tag, git, on_tag

MakeProject = Callable[..., Project]


@pytest.fixture
def tagged(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository whose only commit is tagged v1.2.3, inside the step that the tag started."""
    project = make_project()
    commit_and_tag(project)
    on_tag(monkeypatch, project)
    return project


@pytest.fixture
def page(tagged: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleasePage]:
    with ReleasePage(tagged.paths.root) as github:
        github.environment(monkeypatch)
        github.routes["GET /repos/acme/demo/actions/artifacts"] = lambda request: paged(request, [], "artifacts")
        yield github


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    file = tmp_path / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return lambda: dict(line.split("=", 1) for line in file.read_text().splitlines()) if file.exists() else {}


def evaluated(page: ReleasePage, fingerprint: str, expired: bool = False) -> None:
    """An artifact of a training run dispatched on main."""
    artifact = {
        "id": 9,
        "name": f"adapter-{fingerprint}",
        "expired": expired,
        "created_at": "2026-11-20T00:00:00Z",
        "workflow_run": {"id": 77, "repository_id": 1, "head_repository_id": 1, "head_branch": "main"},
    }
    here = "GET /repos/acme/demo/actions"
    page.routes[f"{here}/artifacts"] = lambda request: paged(request, [artifact], "artifacts")
    page.routes[f"{here}/runs/77"] = {
        "id": 77,
        "path": ".github/workflows/train.yml",
        "event": "workflow_dispatch",
        "head_branch": "main",
        "head_sha": "a" * 40,
        "repository": {"full_name": "acme/demo"},
    }


def refusal(project: Project) -> str:
    with pytest.raises(FinetuneError) as failure:
        release_resolve(project)
    assert failure.value.exit_code == BAD_INPUT and failure.value.fix
    return failure.value.code


@pytest.mark.parametrize("name", ["v1.2.3", "v0.0.0", "v10.20.30", "v1.2.3-rc.1", "v1.0.0-alpha-7.0"])
def test_semantic_versions_are_release_tags(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GITHUB_REF", f"refs/tags/{name}")
    assert release_tag().name == name
    assert release_tag().prerelease == ("-" in name)


def test_versions_sort_by_precedence() -> None:
    names = ["v1.2.3-1", "v1.2.3-rc.9", "v1.2.3-rc.10", "v1.2.3-rc.10.a", "v1.2.3", "v1.3.0-a", "v1.10.0"]
    assert sorted(reversed(names), key=lambda name: Tag(name).order) == names


@pytest.mark.parametrize(
    "ref",
    [
        "refs/tags/1.2.3",
        "refs/tags/v1.2",
        "refs/tags/v1.2.3.4",
        "refs/tags/v01.2.3",
        "refs/tags/v1.2.3-",
        "refs/tags/v1.2.3-01",
        "refs/tags/v1.2.3+build",
        "refs/tags/v1.2.3\n",
        "refs/tags/v1.2.3;id",
        "refs/tags/v١.2.3",
        "refs/tags/vnext",
        "refs/heads/v1.2.3",
        "refs/tags/x/v1.2.3",
        "v1.2.3",
    ],
)
def test_every_other_ref_is_refused(monkeypatch: pytest.MonkeyPatch, ref: str) -> None:
    monkeypatch.setenv("GITHUB_REF", ref)
    with pytest.raises(FinetuneError) as failure:
        release_tag()
    assert failure.value.code == "E640" and str(failure.value).isprintable()


def test_without_an_evaluated_run_it_asks_for_training(tagged: Project, page: ReleasePage, outputs: Any) -> None:
    assert release_resolve(tagged) == OK
    assert outputs() == {"fingerprint": training_fingerprint(tagged), "run": "0"}


def test_an_evaluated_run_of_the_same_fingerprint_is_released(tagged: Project, page: ReleasePage, outputs: Any) -> None:
    evaluated(page, training_fingerprint(tagged))
    assert release_resolve(tagged) == OK
    assert outputs()["run"] == "77"


def test_an_expired_adapter_is_trained_again_and_said_so(
    tagged: Project, page: ReleasePage, outputs: Any, tmp_path: Path
) -> None:
    evaluated(page, training_fingerprint(tagged), expired=True)
    assert release_resolve(tagged) == OK
    assert outputs()["run"] == "0"
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "https://github.com/acme/demo/actions/runs/77" in text and "expired" in text


def test_a_tag_off_main_is_refused_before_anything_is_asked(
    tagged: Project, page: ReleasePage, outputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tagged.paths.root
    git(root, "checkout", "-q", "-b", "side")
    git(root, "commit", "-q", "--allow-empty", "-m", "Aside")
    git(root, "tag", "v2.0.0")
    on_tag(monkeypatch, tagged, "v2.0.0")
    assert refusal(tagged) == "E641"
    assert page.calls() == [] and outputs() == {}


def test_an_older_commit_of_main_may_be_released(tagged: Project, page: ReleasePage, outputs: Any) -> None:
    root = tagged.paths.root
    git(
        root,
        "update-ref",
        "refs/remotes/origin/main",
        git(root, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "Later"),
    )
    assert release_resolve(tagged) == OK


def test_without_the_history_of_main_nothing_is_released(tagged: Project, page: ReleasePage) -> None:
    git(tagged.paths.root, "update-ref", "-d", "refs/remotes/origin/main")
    assert refusal(tagged) == "E622"


def test_a_tag_that_moved_since_the_run_began_is_refused(tagged: Project, page: ReleasePage) -> None:
    moved = git(tagged.paths.root, "commit-tree", "HEAD^{tree}", "-m", "Other")
    page.routes["GET /repos/acme/demo/git/ref/tags/{name}"] = {"object": {"type": "commit", "sha": moved}}
    assert refusal(tagged) == "E643"


def test_a_tag_that_is_gone_is_refused(tagged: Project, page: ReleasePage) -> None:
    page.routes["GET /repos/acme/demo/git/ref/tags/{name}"] = Answer(404, {"message": "Not Found"})
    assert refusal(tagged) == "E643"


def test_an_annotated_tag_stands_for_its_commit(tagged: Project, page: ReleasePage, outputs: Any) -> None:
    commit = git(tagged.paths.root, "rev-parse", "HEAD")
    page.routes["GET /repos/acme/demo/git/ref/tags/{name}"] = {"object": {"type": "tag", "sha": "f" * 40}}
    page.routes["GET /repos/acme/demo/git/tags/{sha}"] = {"object": {"type": "commit", "sha": commit}}
    assert release_resolve(tagged) == OK
    page.routes["GET /repos/acme/demo/git/tags/{sha}"] = {"object": {"type": "tag", "sha": "f" * 40}}
    assert refusal(tagged) == "E643"


def test_another_checkout_than_the_tag_is_refused(tagged: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tagged.paths.root
    git(root, "commit", "-q", "--allow-empty", "-m", "Later")
    assert refusal(tagged) == "E643"
    monkeypatch.setenv("GITHUB_SHA", git(root, "rev-parse", "HEAD"))
    assert refusal(tagged) == "E643"


def recorded(project: Project, commit: str) -> None:
    """origin/main with a record of v1.2.3 from `commit`, on top of the tagged commit."""
    root, file = project.paths.root, project.paths.iterations / "v1.2.3.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"commit: {commit}\n", encoding="utf-8")
    git(root, "add", "iterations")
    later = git(root, "commit-tree", git(root, "write-tree"), "-p", "HEAD", "-m", "Record")
    git(root, "update-ref", "refs/remotes/origin/main", later)


def test_a_version_recorded_from_another_commit_is_refused(tagged: Project, page: ReleasePage) -> None:
    recorded(tagged, "d" * 40)
    assert refusal(tagged) == "E642"


@pytest.mark.parametrize("content", ["", "- 1", "commit: [", "version: 1.2.3"])
def test_an_unreadable_record_proves_nothing(tagged: Project, page: ReleasePage, content: str) -> None:
    recorded(tagged, f"x\n{content}" if content else "")
    assert refusal(tagged) == "E642"


def test_the_same_tag_again_resolves_as_before(tagged: Project, page: ReleasePage, outputs: Any) -> None:
    commit = git(tagged.paths.root, "rev-parse", "HEAD")
    recorded(tagged, commit)
    page.put(page.release(draft=False), "iteration.yaml", f"commit: {commit}\n".encode())
    evaluated(page, training_fingerprint(tagged))
    assert release_resolve(tagged) == OK
    assert outputs()["run"] == "77"


@pytest.mark.parametrize("expired", [True, False])
def test_a_published_release_is_never_trained_again(
    tagged: Project, page: ReleasePage, outputs: Any, expired: bool
) -> None:
    commit = git(tagged.paths.root, "rev-parse", "HEAD")
    page.put(page.release(draft=False), "iteration.yaml", f"commit: {commit}\n".encode())
    if expired:
        evaluated(page, training_fingerprint(tagged), expired=True)
    assert refusal(tagged) == "E651" and outputs() == {}


@pytest.mark.parametrize("content", [b"commit: " + b"d" * 40, b"\xff", b"{}", None])
def test_a_published_release_of_another_commit_is_refused_before_training(
    tagged: Project, page: ReleasePage, content: bytes | None
) -> None:
    release = page.release(draft=False)
    if content is not None:
        page.put(release, "iteration.yaml", content)
    assert refusal(tagged) == "E644"


def test_a_draft_or_another_versions_release_is_no_obstacle(tagged: Project, page: ReleasePage, outputs: Any) -> None:
    page.release(draft=True)
    page.release(draft=False, tag_name="v1.2.2")
    assert release_resolve(tagged) == OK


def test_when_github_does_not_answer_nothing_is_decided(tagged: Project, page: ReleasePage, outputs: Any) -> None:
    page.fail("GET", "/actions/artifacts", 503, times=99)
    assert run(release_resolve, project=tagged.paths.root) == IO_FAULT
    assert outputs() == {}
