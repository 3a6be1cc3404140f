"""The stand-ins for GitHub's own actions refuse what the real ones refuse, and leave on disk what they leave."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from workflows import artifacts
from workflows.act import STUBS
from workflows.fixtures import Make
from workflows.repository import FORK, NAME
from workflows.toy import push, workflow

# checkout


LOOK = """
  a:
    runs-on: ubuntu-24.04
    steps:
      - {uses: CHECKOUT, with: {persist-credentials: false}}
      - uses: CHECKOUT
        with: {persist-credentials: false, ref: "${{ github.event.pull_request.base.sha }}", path: base}
      - run: |
          echo "head $(cat f) base $(cat base/f) commits $(git rev-list --count HEAD)"
          git fetch -q origin 2>/dev/null || echo "origin is out of reach"
          echo "$(git remote get-url origin) $GITHUB_SHA $GITHUB_REF"
"""


@pytest.mark.parametrize("fork", [False, True])
def test_a_pull_request_is_checked_out_as_it_would_be_merged(make: Make, fork: bool) -> None:
    forge = make({".github/workflows/w.yml": workflow(LOOK, on="pull_request"), "f": "old"})
    number = forge.open_pull({"f": "new"}, fork=fork)
    forge.repository.commit({"g": "meanwhile"})
    forge.repository.set_pull(number, forge.head(number))
    run = forge.pull_request(number, workflow="w.yml")
    assert run.code == 0, run.log
    assert "head new base old commits 1" in run.log and "origin is out of reach" in run.log
    merge = forge.repository.sha("refs/pull/1/merge")
    assert f"https://github.com/{NAME} {merge} refs/pull/1/merge" in run.log
    assert forge.github.pulls[number].head_repo == (FORK if fork else NAME)


KEPT = """
  a:
    runs-on: [self-hosted, gpu]
    steps:
      - {uses: CHECKOUT, with: {persist-credentials: false}}
      - run: |
          ls -A; cat f
          echo changed > f; mkdir -p build/deep; echo x > build/deep/x; git init -q nested; echo y > .hidden
"""


def test_a_kept_workspace_is_cleaned_by_checkout(make: Make, tmp_path: Path) -> None:
    forge = make({".github/workflows/w.yml": workflow(KEPT), "f": "old\n", ".gitignore": "build\n"})
    forge.kept["a"] = tmp_path / "kept"
    first, second = push(forge), push(forge)
    assert (first.code, second.code) == (0, 0), second.log
    assert (tmp_path / "kept" / "build" / "deep" / "x").is_file()
    for name in ("build", "nested", ".hidden"):
        assert f"[a] {name}" not in second.log.splitlines()
    assert second.log.count("[a] old") == 1


def test_a_tag_that_moved_is_not_checked_out(make: Make) -> None:
    look = "  a: {runs-on: ubuntu-24.04, steps: [{uses: CHECKOUT, with: {persist-credentials: false}}]}\n"
    forge = make({".github/workflows/w.yml": workflow(look, on="{push: {tags: ['v*']}}")})
    assert forge.push_tag("v1", workflow="w.yml").code == 0
    newer = forge.repository.commit({"f": "new"})
    forge.github.on_job["a"] = lambda: forge.repository.git("update-ref", "refs/tags/v2", newer)
    run = forge.push_tag("v2", "main~1", workflow="w.yml")
    assert run.jobs == {"a": "failure"} and "does not point to the expected commit" in run.log


# Artifacts


@pytest.fixture(scope="module")
def upload() -> ModuleType:
    spec = importlib.util.spec_from_file_location("upload", STUBS / "upload-artifact" / "upload.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("d/", ["a", "sub/b"]),
        ("d/a", ["a"]),
        ("d/*", ["a", "sub/b"]),
        ("d/**/b", ["sub/b"]),
        ("d\n!d/sub", ["a"]),
        ("d\ne.md", ["d/a", "d/sub/b", "e.md"]),
        ("d/sub\nd/none.*", ["sub/b"]),
        ("d\nmissing/deep/x", ["d/a", "d/sub/b"]),
        ("*.md", ["e.md"]),
        ("missing", []),
    ],
)
def test_what_is_uploaded_and_under_which_path(
    upload: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patterns: str, expected: list[str]
) -> None:
    for name in ("d/a", "d/sub/b", "d/.hidden/c", "d/.dot", "e.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    files, root = upload.find(patterns.split("\n"), hidden=False)
    assert sorted(file.relative_to(root).as_posix() for file in files) == expected


TRANSFER = """
  a:
    runs-on: ubuntu-24.04
    permissions: {contents: read}
    steps:
      - {uses: CHECKOUT, with: {persist-credentials: false}}
      - {uses: UPLOAD, with: {name: one, path: f, retention-days: 7}}
      - {name: twice, continue-on-error: true, uses: UPLOAD, with: {name: one, path: f}}
      - {name: replaced, uses: UPLOAD, with: {name: one, path: w, overwrite: true}}
      - {name: bad name, continue-on-error: true, uses: UPLOAD, with: {name: "a:b", path: f}}
      - {name: nothing, continue-on-error: true, uses: UPLOAD, with: {name: x, path: gone, if-no-files-found: error}}
      - {uses: DOWNLOAD, with: {name: one, path: got}}
      - {name: got it, run: test "$(cat got/w)" = w}
"""
ELSEWHERE = """
  a:
    runs-on: ubuntu-24.04
    permissions: {contents: read, actions: read}
    steps:
      - {uses: CHECKOUT, with: {persist-credentials: false}}
      - {name: no token, continue-on-error: true, uses: DOWNLOAD, with: {name: one, run-id: "${{ vars.RUN }}"}}
      - uses: DOWNLOAD
        name: token
        continue-on-error: true
        with: {name: one, path: got, run-id: "${{ vars.RUN }}", github-token: "${{ github.token }}"}
"""


def test_artifacts_pass_between_steps_and_runs_by_the_rules_of_the_real_actions(make: Make) -> None:
    forge = make(
        {
            ".github/workflows/w.yml": workflow(TRANSFER),
            ".github/workflows/x.yml": workflow(ELSEWHERE),
            "f": "f",
            "w": "w",
        }
    )
    first = push(forge)
    assert first.code == 0, first.log
    assert first.failed_steps == ["twice", "bad name", "nothing"]
    assert artifacts.read(forge.github.artifacts, "one") == {"w": b"w"}
    (record,) = forge.github.artifact_records()
    assert record[0] == first.id

    forge.variables["RUN"] = str(first.id)
    assert push(forge, "x.yml").failed_steps == ["no token"]
    archive = record[1].with_suffix(".zip")
    archive.write_bytes(archive.read_bytes()[:-1] + b"\1")
    broken = push(forge, "x.yml")
    assert broken.failed_steps == ["no token", "token"] and "Digest validation failed" in broken.log
    forge.github.expire("one")
    expired = push(forge, "x.yml")
    assert expired.failed_steps == ["no token", "token"] and "410" in expired.log
