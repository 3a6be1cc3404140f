"""A manifest names every byte: whatever is not what was written down is found, and nothing strange is opened."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune import provenance
from finetune.provenance import FileFacts
from finetune.sealed import deviations, entries, is_safe_path

LISTED = {"a.txt": b"first", "folder/b.bin": bytes(range(256)), "folder/empty": b""}


@pytest.fixture
def sealed_folder(tmp_path: Path) -> tuple[Path, dict[str, FileFacts]]:
    folder = tmp_path / "sealed"
    for name, content in LISTED.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text("{}")
    return folder, {name: FileFacts.of(folder / name) for name in LISTED}


def kinds(folder: Path, listed: dict[str, FileFacts], **options: Any) -> set[tuple[str, str]]:
    return {(found.name, found.kind) for found in deviations(folder, listed, ["manifest.json"], **options)}


def test_a_whole_folder_has_no_deviation(sealed_folder: tuple[Path, Any]) -> None:
    assert kinds(*sealed_folder) == set()


def _link(folder: Path) -> None:
    shutil.move(folder / "a.txt", folder.parent / "kept")
    (folder / "a.txt").symlink_to(folder.parent / "kept")  # the very bytes


def _linked_folder(folder: Path) -> None:
    shutil.move(folder / "folder", folder.parent / "kept")
    (folder / "folder").symlink_to(folder.parent / "kept")


CHANGES: list[tuple[Callable[[Path], object], set[tuple[str, str]]]] = [
    (lambda f: (f / "a.txt").unlink(), {("a.txt", "missing")}),
    (lambda f: (f / "a.txt").write_bytes(b"firsT"), {("a.txt", "changed")}),
    (lambda f: (f / "a.txt").write_bytes(b"first "), {("a.txt", "size")}),
    (lambda f: (f / "folder/empty").write_bytes(b"\0"), {("folder/empty", "size")}),
    (lambda f: (f / "more").write_bytes(b""), {("more", "unlisted")}),
    (lambda f: (f / ".hidden").write_bytes(b""), {(".hidden", "unlisted")}),
    (lambda f: (f / "folder/manifest.json").write_bytes(b""), {("folder/manifest.json", "unlisted")}),
    (_link, {("a.txt", "irregular"), ("a.txt", "missing")}),
    (_linked_folder, {("folder", "irregular"), ("folder/b.bin", "missing"), ("folder/empty", "missing")}),
    (lambda f: os.mkfifo(f / "pipe"), {("pipe", "irregular")}),
    (lambda f: ((f / "a.txt").unlink(), (f / "a.txt").mkdir()), {("a.txt", "missing")}),
    (lambda f: shutil.rmtree(f), {(name, "missing") for name in LISTED}),
    (lambda f: (shutil.move(f, f.parent / "x"), f.symlink_to(f.parent / "x")), {(name, "missing") for name in LISTED}),
]


@pytest.mark.parametrize(("change", "found"), CHANGES, ids=range(len(CHANGES)))
def test_every_change_is_found(sealed_folder: tuple[Path, Any], change: Callable[[Path], object], found: Any) -> None:
    change(sealed_folder[0])
    assert kinds(*sealed_folder) == found


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a//b", "a/./b", ".git/x", "a\nb", " a", "a\\b", "", "x" * 201, "nul:"]
)
def test_a_manifest_cannot_point_elsewhere(sealed_folder: tuple[Path, Any], name: str) -> None:
    folder, listed = sealed_folder
    assert not is_safe_path(name)
    outside = {**listed, name: FileFacts(sha256="0" * 64, bytes=0)}
    assert (name, "unsafe") in kinds(folder, outside)


def test_what_is_too_large_is_not_read(sealed_folder: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, listed = sealed_folder
    with open(folder / "a.txt", "ab") as file:
        file.truncate(10 * 2**30)
    listed["folder/b.bin"] = FileFacts(sha256="0" * 64, bytes=256)
    read: list[str] = []
    whole = provenance.sha256
    monkeypatch.setattr(provenance, "sha256", lambda path: (read.append(path.name), whole(path))[1])
    assert kinds(folder, listed, limit=lambda name: 100) == {("a.txt", "size"), ("folder/b.bin", "size")}
    assert read == ["empty"]


def test_a_flood_of_files_is_not_walked_to_its_end(sealed_folder: tuple[Path, Any]) -> None:
    folder, listed = sealed_folder
    for number in range(50):
        (folder / f"{number}.txt").write_bytes(b"")
    assert (".", "flood") in kinds(folder, listed, most=20)
    assert len(deviations(folder, listed, most=20)) == 21
    assert len(list(entries(folder))) == 54
