"""Atomic files, fingerprints and manifests: done means complete."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from disk import full_disk, names
from finetune import provenance
from finetune.provenance import (
    MANIFEST,
    FileFacts,
    digest,
    environment,
    git_commit,
    read_manifest,
    sha256,
    tree_digest,
    write_json,
    write_manifest,
    write_text,
)
from finetune.sealed import is_current

# Files


def test_a_file_is_written_whole_as_utf_8_with_lf(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "一\n二\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "一\n二\n".encode()
    assert names(tmp_path / "deep") == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["fsync", "replace", "chmod"])
def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(provenance.os, name, full_disk)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(provenance.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == []


def test_json_keeps_order_and_text(tmp_path: Path) -> None:
    value = {"z": "中文", "a": [1, 2.5, None, True], "no": "no"}
    write_json(tmp_path / "a.json", value)
    assert list(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == ["z", "a", "no"]
    assert "中文" in (tmp_path / "a.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError):
        write_json(tmp_path / "b.json", {"x": float("nan")})
    assert names(tmp_path) == ["a.json"]


# Fingerprints


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_digest_ignores_key_order_and_nothing_else() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert len({digest(v) for v in ({"a": 1}, {"a": "1"}, {"a": 1.5}, {"b": 1}, [1, 2], [2, 1], None)}) == 7
    assert digest({"\udcff": 1}) != digest({"\udcfe": 1})  # names that are no text still have one


def test_a_tree_digest_sees_names_contents_and_depth_but_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_text("1")
    before = tree_digest(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    assert tree_digest(tmp_path) == before
    (tmp_path / "a").write_text("2")
    changed = tree_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = tree_digest(tmp_path)
    (tmp_path / "b").rename(tmp_path / "sub" / "b")
    assert len({before, changed, renamed, tree_digest(tmp_path)}) == 4


# Manifests


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"abc")
    (folder / "sub" / "b.bin").write_bytes(b"")
    (tmp_path / "test.jsonl").write_text("{}\n")
    outputs = [folder / "a.bin", folder / "sub" / "b.bin", tmp_path / "test.jsonl"]
    write_manifest(folder / MANIFEST, step="convert", inputs={"raw": "1"}, outputs=outputs, facts={"rows": 2})
    return folder / MANIFEST


def test_a_manifest_records_its_outputs_relative_to_itself(manifest: Path) -> None:
    recorded = read_manifest(manifest)
    assert recorded is not None
    assert (recorded.step, recorded.inputs, recorded.facts) == ("convert", {"raw": "1"}, {"rows": 2})
    assert sorted(recorded.outputs) == ["../test.jsonl", "a.bin", "sub/b.bin"]
    assert recorded.outputs["a.bin"] == FileFacts(sha256=sha256(manifest.parent / "a.bin"), bytes=3)
    assert is_current(manifest, {"raw": "1"})


def test_a_moved_folder_is_still_current(manifest: Path) -> None:
    moved = manifest.parent.rename(manifest.parent.with_name("moved"))
    assert is_current(moved / MANIFEST, {"raw": "1"})


@pytest.mark.parametrize("inputs", [{"raw": "2"}, {}, {"raw": "1", "task": "1"}, {"other": "1"}])
def test_changed_inputs_are_not_current(manifest: Path, inputs: dict[str, str]) -> None:
    assert not is_current(manifest, inputs)


def test_one_changed_byte_is_not_current(manifest: Path) -> None:
    output = manifest.parent / "a.bin"
    kept = output.stat()
    output.write_bytes(b"abd")
    os.utime(output, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # same size, same time: only the bytes tell
    assert not is_current(manifest, {"raw": "1"})
    output.write_bytes(b"abc")
    assert is_current(manifest, {"raw": "1"})


@pytest.mark.parametrize("name", ["a.bin", "sub/b.bin", "../test.jsonl"])
def test_a_missing_or_shortened_or_replaced_output_is_not_current(manifest: Path, name: str) -> None:
    output = manifest.parent / name
    output.write_bytes(output.read_bytes() + b"x")
    assert not is_current(manifest, {"raw": "1"})
    output.unlink()
    assert not is_current(manifest, {"raw": "1"})
    output.mkdir()
    assert not is_current(manifest, {"raw": "1"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"outputs": {}}',
        b'{"inputs": {}, "facts": {}, "outputs": []}',
        b'{"inputs": {}, "facts": {}, "outputs": {"a": 5}}',
        b'{"inputs": {}, "facts": {}, "outputs": {"a": {"bytes": 1}}}',
        b'{"inputs": null, "facts": {}, "outputs": {}}',
        b'{"inputs": {"raw": 1}, "facts": {}, "outputs": {}}',
        b'{"inputs": {}, "facts": {}, "outputs": {"a": {"sha256": "A", "bytes": 1}}}',
        rb'{"inputs": {}, "facts": {"\ud800": 1}, "outputs": {}}',  # half a character, which no UTF-8 file holds
    ],
)
def test_a_damaged_manifest_means_not_done(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    assert read_manifest(tmp_path / MANIFEST) is None
    assert not is_current(tmp_path / MANIFEST, {})


def test_no_manifest_means_not_done(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "nowhere" / MANIFEST) is None
    assert not is_current(tmp_path / "nowhere" / MANIFEST, {})


def test_a_manifest_names_only_outputs_that_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_manifest(tmp_path / MANIFEST, step="x", inputs={}, outputs=[tmp_path / "gone"], facts={})
    assert names(tmp_path) == []


# Environment


def git(root: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *settings, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_recorded_with_its_changes_and_only_of_this_repository(tmp_path: Path) -> None:
    assert git_commit(tmp_path / "nowhere") is None
    git(tmp_path, "init", "-q")
    assert git_commit(tmp_path) is None  # nothing committed yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == head + "+changes"
    (tmp_path / "inner").mkdir()
    assert git_commit(tmp_path / "inner") is None


def test_the_environment_names_versions_and_nobody(tmp_path: Path) -> None:
    facts = environment(tmp_path)
    assert facts["python"].startswith("3.") and facts["packages"]["pydantic"] and facts["git_commit"] is None
    text = json.dumps(facts)
    assert os.uname().nodename not in text and str(Path.home()) not in text
