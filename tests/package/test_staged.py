"""Staged folders appear whole or not at all: a failure or a kill at any moment loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from disk import full_disk, names
from finetune import provenance
from finetune.provenance import MANIFEST, staged, write_manifest
from finetune.sealed import is_current
from repository import ROOT


def put(target: Path, text: str) -> None:
    with staged(target) as folder:
        (folder / "a").write_text(text)


def test_a_staged_folder_appears_at_the_end_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "models" / "adapter"
    put(target, "old")
    with staged(target) as folder:
        assert folder.parent == target.parent  # the same file system: a rename suffices
        (folder / "b").write_text("new")
        assert names(target) == ["a"]
    assert names(target) == ["b"] and names(target.parent) == ["adapter"]
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_old_folder_and_nothing_else(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "adapter"
    for expected in ([], ["adapter"]):
        with pytest.raises(failure), staged(target) as folder:
            (folder / "a").write_text("half")
            raise failure
        assert names(tmp_path) == expected
        put(target, "old")
        assert (target / "a").read_text() == "old"


@pytest.mark.parametrize("call", [1, 2])
def test_a_failed_rename_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    target, calls, real = tmp_path / "adapter", [], os.replace
    put(target, "old")

    def replace(source: object, goal: object) -> None:
        calls.append(source)
        if len(calls) == call:
            full_disk()
        real(source, goal)  # type: ignore[arg-type]

    monkeypatch.setattr(provenance.os, "replace", replace)
    with pytest.raises(OSError, match="No space"):
        put(target, "new")
    assert names(tmp_path) == ["adapter"] and (target / "a").read_text() == "old"


KILLED = """
import os, signal, sys
from pathlib import Path
from finetune import provenance
point, target = sys.argv[1], Path(sys.argv[2])
real, calls = os.replace, []
def die(): os.kill(os.getpid(), signal.SIGKILL)
def replace(source, goal):
    calls.append(source)
    if point == f"before rename {len(calls)}": die()
    real(source, goal)
    if point == f"after rename {len(calls)}": die()
provenance.os.replace = replace
if point == "in the old folder's removal":
    provenance.shutil.rmtree = lambda path, **_: (next(Path(path).iterdir()).unlink(), die())
with provenance.staged(target) as folder:
    (folder / "a").write_text("new")
    (folder / "b").write_text("new")
    if point == "in the block": die()
"""
KILLS = {
    "in the block": "old",
    "before rename 1": "old",
    "after rename 1": "old",
    "before rename 2": "old",
    "after rename 2": "new",
    "before rename 3": "new",
    "after rename 3": "new",
    "in the old folder's removal": "new",
}


def kill_at(point: str, target: Path) -> None:
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", KILLED, point, str(target)], env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("point", "expected"), KILLS.items())
def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path, point: str, expected: str) -> None:
    target = tmp_path / "adapter"
    with staged(target) as folder:
        for name in "ab":
            (folder / name).write_text("old")
        write_manifest(folder / MANIFEST, step="train", inputs={}, outputs=[folder / "a", folder / "b"], facts={})
    kill_at(point, target)
    assert is_current(target / MANIFEST, {}) == (expected == "old")  # looking puts the old folder back
    assert {(target / name).read_text() for name in "ab"} == {expected}
    put(target, "next")
    assert names(tmp_path) == ["adapter"] and names(target) == ["a"]


def test_the_next_run_restores_and_cleans_even_when_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    put(target, "old")
    kill_at("after rename 1", target)
    assert not target.exists()
    with pytest.raises(ValueError), staged(target):
        raise ValueError
    assert names(tmp_path) == ["adapter"] and (target / "a").read_text() == "old"


def test_leftovers_are_removed_but_never_those_of_a_neighbour(tmp_path: Path) -> None:
    target, neighbour = tmp_path / "Qwen3", tmp_path / "Qwen3.v2"
    leftover = tmp_path / ".Qwen3.abcd1234.staged"
    leftover.mkdir()
    (leftover / "half").write_text("x")
    with staged(neighbour) as folder:
        put(target, "new")
        assert folder.exists() and not leftover.exists()
    assert names(tmp_path) == ["Qwen3", "Qwen3.v2"]


def test_a_name_with_wildcards_is_just_a_name(tmp_path: Path) -> None:
    other = tmp_path / ".a.abcd1234.staged"
    other.mkdir()
    put(tmp_path / "[a]", "x")
    assert names(tmp_path) == [".a.abcd1234.staged", "[a]"]


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_text("x"), lambda path: path.symlink_to("gone")])
def test_whatever_lies_at_the_target_is_replaced(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "adapter")
    put(tmp_path / "adapter", "new")
    assert names(tmp_path) == ["adapter"] and (tmp_path / "adapter" / "a").read_text() == "new"


def test_a_linked_folder_is_replaced_and_its_content_left_alone(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "kept")
    (tmp_path / "adapter").symlink_to(tmp_path / "elsewhere")
    put(tmp_path / "adapter", "new")
    assert names(tmp_path) == ["adapter", "elsewhere"]
    assert not (tmp_path / "adapter").is_symlink() and (tmp_path / "elsewhere" / "a").read_text() == "kept"
