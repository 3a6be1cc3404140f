"""The GitHub release: a draft until it is whole, one however often it runs, and never changed once published."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.config.project import Project
from finetune.console import run
from finetune.errors import IO_FAULT, OK, FinetuneError
from finetune.github.release.bundle import bundle_folder
from finetune.github.release.github_release import MARKER, github_release
from finetune.provenance import MANIFEST, sha256, write_json
from github_fake import Answer, Request
from releasing import ReleasePage, gathered_release, git, release_page

ATTACHED = [
    "SHA256SUMS",
    "adapter_manifest.json",
    "evaluation_report.html",
    "evaluation_report.md",
    "evaluation_report.yaml",
    "gguf_manifest.json",
    "integration_guide.md",
    "iteration.yaml",
    "merged_manifest.json",
    "receipts.json",
]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with gathered_release(tmp_path_factory.mktemp("released")) as project:
        yield project


@pytest.fixture
def page(gathered: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleasePage]:
    with release_page(gathered, monkeypatch) as github:
        yield github


def writes(page: ReleasePage) -> list[str]:
    return [call for method in ("POST", "PATCH", "DELETE") for call in page.calls(method)]


def test_the_release_is_whole_before_it_is_published(gathered: Project, page: ReleasePage) -> None:
    assert github_release(gathered) == OK
    (release,) = page.releases
    assert page.names() == ATTACHED
    for asset in release["assets"]:
        assert page.contents[asset["id"]] == (bundle_folder(gathered) / asset["name"]).read_bytes()
    # Created as a draft, and nothing is written after it is public.
    assert next(r for r in page.requests if r.method == "POST").body["draft"] is True
    assert release["draft"] is False and writes(page)[-1] == "PATCH /repos/acme/demo/releases/1"
    assert page.requests[-1].method == "PATCH"
    assert "**macro_f1 1.000**" in release["body"] and release["prerelease"] is False
    assert release["target_commitish"] == git(gathered.paths.root, "rev-parse", "HEAD")


@pytest.mark.parametrize("digests", [True, False])
def test_the_same_tag_again_writes_nothing(gathered: Project, page: ReleasePage, digests: bool) -> None:
    page.digests = digests
    assert github_release(gathered) == OK
    before = writes(page)
    assert github_release(gathered) == OK
    assert writes(page) == before and len(page.releases) == 1


def test_a_second_measurement_of_the_same_release_is_the_same_release(gathered: Project, page: ReleasePage) -> None:
    assert github_release(gathered) == OK
    for asset in page.releases[0]["assets"]:
        if asset["name"] not in ("receipts.json", "iteration.yaml"):
            asset["digest"], asset["size"] = f"sha256:{'0' * 64}", 1  # it recorded other durations
    assert github_release(gathered) == OK


@pytest.mark.parametrize("name", ["receipts.json", "iteration.yaml"])
def test_a_published_release_with_other_content_is_refused(gathered: Project, page: ReleasePage, name: str) -> None:
    assert github_release(gathered) == OK
    asset = next(asset for asset in page.releases[0]["assets"] if asset["name"] == name)
    asset["digest"] = f"sha256:{'0' * 64}"
    before = writes(page)
    with pytest.raises(FinetuneError, match=f"another {name}") as failure:
        github_release(gathered)
    assert failure.value.code == "E644" and writes(page) == before


def test_a_release_somebody_published_by_hand_is_refused(gathered: Project, page: ReleasePage) -> None:
    page.release(draft=False)
    with pytest.raises(FinetuneError, match="lacks") as failure:
        github_release(gathered)
    assert failure.value.code == "E644" and writes(page) == []


def test_a_draft_with_half_its_files_is_completed(gathered: Project, page: ReleasePage) -> None:
    folder, draft = bundle_folder(gathered), page.release(body=f"Ours, half.\n\n{MARKER}\nSTALE")
    page.put(draft, "receipts.json", (folder / "receipts.json").read_bytes())
    page.put(draft, "SHA256SUMS", b"of another run")
    page.put(draft, "iteration.yaml", (folder / "iteration.yaml").read_bytes(), state="starter")
    page.put(draft, "handbook.pdf", b"a person's own")
    kept = draft["assets"][0]["id"]
    assert github_release(gathered) == OK
    assert page.names() == sorted([*ATTACHED, "handbook.pdf"])
    assert kept in {asset["id"] for asset in draft["assets"]}
    assert len(page.calls("DELETE")) == 2 and len(page.releases) == 1
    assert (
        draft["body"].startswith("Ours, half.\n") and draft["body"].count(MARKER) == 1 and "STALE" not in draft["body"]
    )


def test_without_digests_from_the_server_contents_are_compared(gathered: Project, page: ReleasePage) -> None:
    page.digests, folder = False, bundle_folder(gathered)
    draft, right = page.release(), (folder / "SHA256SUMS").read_bytes()
    page.put(draft, "SHA256SUMS", bytes(reversed(right)))
    page.put(draft, "receipts.json", (folder / "receipts.json").read_bytes())
    assert github_release(gathered) == OK
    assert len(page.calls("DELETE")) == 1
    assert page.contents[next(a["id"] for a in draft["assets"] if a["name"] == "SHA256SUMS")] == right


@pytest.mark.parametrize(
    "fault", [{"status": 502}, {"drop": "reply"}, {"drop": "reply", "done": True}, {"drop": "body"}]
)
def test_an_upload_that_fails_or_loses_its_answer_is_made_good(
    gathered: Project, page: ReleasePage, fault: dict[str, object]
) -> None:
    page.fail("POST", r"/uploads/\d+/assets", times=2, **fault)
    assert github_release(gathered) == OK
    assert page.names() == ATTACHED
    assert page.releases[0]["draft"] is False


def test_the_remains_of_a_broken_upload_are_cleared_away(gathered: Project, page: ReleasePage) -> None:
    upload = page.routes["POST /repos/acme/demo/uploads/{number}/assets"]
    breaks = {"SHA256SUMS", "receipts.json"}

    def half(request: Request, number: str) -> Any:
        name = request.query["name"]
        if name not in breaks:
            return upload(request, number)
        breaks.remove(name)
        page.put(page.releases[0], name, request.body[:10], state="starter")
        return Answer(502, {"message": "half of it arrived"})

    page.routes["POST /repos/acme/demo/uploads/{number}/assets"] = half
    assert github_release(gathered) == OK
    assert page.names() == ATTACHED and len(page.calls("DELETE")) == 2


@pytest.mark.parametrize("fault", [{"status": 502}, {"drop": "reply", "done": True}])
def test_one_draft_is_made_also_when_the_answer_is_lost(
    gathered: Project, page: ReleasePage, fault: dict[str, object]
) -> None:
    page.fail("POST", r"/releases$", **fault)
    assert github_release(gathered) == OK
    assert len(page.releases) == 1 and page.releases[0]["draft"] is False


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/releases$"), ("POST", "/uploads/"), ("GET", "/assets$"), ("PATCH", "/releases/")]
)
def test_whatever_step_fails_the_next_run_completes(
    gathered: Project, page: ReleasePage, method: str, path: str
) -> None:
    page.fail(method, path, 503, times=99)
    assert run(github_release, project=gathered.paths.root) == IO_FAULT
    assert all(release["draft"] for release in page.releases)
    page.faults.clear()
    assert github_release(gathered) == OK
    assert len(page.releases) == 1 and page.names() == ATTACHED


def test_what_arrives_changed_is_never_published(gathered: Project, page: ReleasePage) -> None:
    def mangled(request: object, number: str) -> dict[str, object]:
        page.put(page.releases[0], request.query["name"], b"something else")  # type: ignore[attr-defined]
        return page.releases[0]["assets"][-1]

    page.routes["POST /repos/acme/demo/uploads/{number}/assets"] = mangled
    with pytest.raises(FinetuneError) as failure:
        github_release(gathered)
    assert failure.value.code == "E649" and failure.value.exit_code == IO_FAULT
    assert page.releases[0]["draft"] is True


def test_a_tag_that_moves_during_the_upload_is_not_published(gathered: Project, page: ReleasePage) -> None:
    commit = git(gathered.paths.root, "rev-parse", "HEAD")
    answers = iter([commit, "d" * 40])
    page.routes["GET /repos/acme/demo/git/ref/tags/{name}"] = lambda request, name: {
        "object": {"type": "commit", "sha": next(answers)}
    }
    with pytest.raises(FinetuneError) as failure:
        github_release(gathered)
    assert failure.value.code == "E643" and page.releases[0]["draft"] is True


def test_a_published_release_counts_before_a_draft_beside_it(gathered: Project, page: ReleasePage) -> None:
    assert github_release(gathered) == OK
    page.releases.insert(0, {**page.release(), "id": 0})
    before = writes(page)
    assert github_release(gathered) == OK
    assert writes(page) == before


def test_the_release_is_found_behind_a_hundred_others(gathered: Project, page: ReleasePage) -> None:
    for number in range(130):
        page.release(tag_name=f"v0.0.{number}", draft=False)
    draft = page.release()
    assert github_release(gathered) == OK
    assert draft["draft"] is False and len(page.releases) == 131


def rewrite_manifest(folder: Path, name: str, **outputs: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["outputs"] |= {name: outputs}
    write_json(folder / MANIFEST, manifest)


@pytest.fixture
def copied(gathered: Project) -> Iterator[Path]:
    """build/release, put back as it was when the test is over."""
    folder = bundle_folder(gathered)
    shutil.copytree(folder, folder.with_name("kept"), symlinks=True)
    yield folder
    shutil.rmtree(folder)
    folder.with_name("kept").rename(folder)


def test_a_file_of_two_gibibytes_is_never_sent(gathered: Project, page: ReleasePage, copied: Path) -> None:
    huge = copied / "huge.bin"
    huge.touch()
    os.truncate(huge, 2 * 1024**3)  # sparse: it takes no space
    rewrite_manifest(copied, "huge.bin", bytes=2 * 1024**3, sha256="0" * 64)
    with pytest.raises(FinetuneError, match="2,147,483,648 bytes") as failure:
        github_release(gathered)
    assert failure.value.code == "E648" and page.calls() == []


def _extra(folder: Path) -> None:
    (folder / "more.txt").write_text("x")


def _changed(folder: Path) -> None:
    data = (folder / "receipts.json").read_bytes()
    (folder / "receipts.json").write_bytes(data.replace(b"a", b"b", 1))


def _missing(folder: Path) -> None:
    (folder / "notes.md").unlink()


def _link(folder: Path) -> None:
    (folder / "receipts.json").rename(folder.parent / "receipts.json")
    (folder / "receipts.json").symlink_to(folder.parent / "receipts.json")


def _folder_link(folder: Path) -> None:
    (folder / "record" / "docs").rename(folder.parent / "docs")
    (folder / "record" / "docs").symlink_to(folder.parent / "docs")


def _elsewhere(folder: Path) -> None:
    path = folder / "record" / ".github" / "workflows" / "evil.yml"
    path.parent.mkdir(parents=True)
    path.write_text("on: push")
    rewrite_manifest(folder, "record/.github/workflows/evil.yml", bytes=8, sha256=sha256(path))


def _outside(folder: Path) -> None:
    rewrite_manifest(folder, "../../task_definition.yaml", bytes=1, sha256="0" * 64)


def _no_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _of_another_tag(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    write_json(folder / MANIFEST, {**manifest, "facts": {**manifest["facts"], "tag": "v9.9.9"}})


@pytest.mark.parametrize(
    "damage",
    [_extra, _changed, _missing, _link, _folder_link, _elsewhere, _outside, _no_manifest, _of_another_tag],
)
def test_files_that_are_not_what_was_gathered_are_refused(
    gathered: Project, page: ReleasePage, copied: Path, damage: object
) -> None:
    damage(copied)  # type: ignore[operator]
    with pytest.raises(FinetuneError) as failure:
        github_release(gathered)
    assert failure.value.code == "E648" and page.calls() == []
