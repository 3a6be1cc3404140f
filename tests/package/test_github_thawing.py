"""Thawing: only the very bytes that were frozen are placed, whatever happened to the folder in between."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune import provenance
from finetune.config.project import load_project
from finetune.errors import FinetuneError
from finetune.github.train.checkout import MAX_FILE_BYTES, is_input
from finetune.github.train.fingerprint import training_fingerprint
from finetune.github.train.freezing import thaw
from finetune.github.train.frozen import INPUT, read_input
from finetune.inventory import START, STEPS
from github_workspace import FROZEN, Make, Workspace
from repository import ROOT

CODE = ("finetune", "scripts")
"""Not the rest: .venv lies in a repository that is worked in."""


@pytest.fixture
def work(make_project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    workspace = Workspace(make_project, tmp_path, monkeypatch)
    with workspace.github:
        yield workspace


class TestThaw:
    @pytest.fixture
    def frozen(self, work: Workspace) -> Workspace:
        work.freeze(work.base)
        return work

    def thawed(self, work: Workspace) -> Path:
        assert thaw(work.project, work.digest, Path("build/work")) == 0
        return work.root / "build" / "work"

    def refused(self, work: Workspace, digest: str | None = None) -> FinetuneError:
        before = work.root / "build/work/before.txt"
        before.parent.mkdir(exist_ok=True)
        before.write_text("before")
        with pytest.raises(FinetuneError) as failure:
            thaw(work.project, digest or work.digest, Path("build/work"))
        assert [path.name for path in before.parent.iterdir()] == ["before.txt"]
        return failure.value

    def test_places_exactly_the_frozen_files(self, frozen: Workspace):
        target = self.thawed(frozen)
        found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
        assert found == FROZEN
        for name in FROZEN:
            assert (target / name).read_bytes() == (frozen.change.root / name).read_bytes()
        assert training_fingerprint(load_project(target)) == read_input(frozen.input, frozen.digest).fingerprint

    def test_a_dirty_workspace_is_as_good_as_a_clean_one(self, frozen: Workspace):
        target = self.thawed(frozen)
        (target / "models/checkpoints").mkdir(parents=True)
        (target / "models/checkpoints/evil.pt").write_bytes(b"x")
        (target / "data/raw/left.jsonl").write_bytes(b"{}")
        (target / "task_definition.yaml").unlink()
        assert sorted(p.relative_to(target).as_posix() for p in self.thawed(frozen).rglob("*") if p.is_file()) == FROZEN

    def test_a_target_that_is_a_link_is_replaced_not_followed(self, frozen: Workspace, tmp_path: Path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").write_text("p")
        (frozen.root / "build/work").symlink_to(outside)
        assert not self.thawed(frozen).is_symlink()
        assert (outside / "precious").read_text() == "p"

    @pytest.mark.parametrize(
        "place",
        [
            ".",
            "..",
            "build",
            "build/input",
            "build/candidate",
            "build/adapter",
            "build/../finetune",
            "/tmp/x",
            "../x",
            "build/a/b",
            "data",
        ],
    )
    def test_another_place_is_refused(self, frozen: Workspace, place: str):
        with pytest.raises(FinetuneError, match="E628"):
            thaw(frozen.project, frozen.digest, Path(place))
        assert (frozen.root / "task_definition.yaml").exists()
        assert read_input(frozen.input, frozen.digest)

    @pytest.mark.parametrize(("digest", "code"), [("0" * 64, "E626"), ("x", "E603"), ("A" * 64, "E603")])
    def test_another_digest_is_refused(self, frozen: Workspace, digest: str, code: str):
        assert self.refused(frozen, digest).code == code

    def test_a_byte_flipped_in_the_manifest(self, frozen: Workspace):
        path = frozen.input / INPUT
        path.write_bytes(path.read_bytes().replace(b'"pr": 7', b'"pr": 8'))
        assert self.refused(frozen).code == "E626"

    @pytest.mark.parametrize("name", FROZEN)
    def test_a_byte_flipped_in_a_file(self, frozen: Workspace, name: str):
        path = frozen.input / "files" / name
        content = path.read_bytes() or b"\0"
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        assert [f"files/{name}"] == [p.path for p in self.refused(frozen).problems.errors]

    def test_every_missing_extra_or_strange_file_is_named_at_once(self, frozen: Workspace, tmp_path: Path):
        files = frozen.input / "files"
        (files / "constraints.txt").unlink()
        (files / "finetune/evil.py").write_text("x")
        (frozen.input / "extra").write_text("x")
        (files / "scripts/link.py").symlink_to("/etc/passwd")
        (files / "configs/folder").symlink_to(tmp_path)
        os.mkfifo(files / "data/raw/pipe.jsonl")
        shutil.move(files / "data/raw/rows.jsonl", tmp_path / "rows.jsonl")
        (files / "data/raw/rows.jsonl").symlink_to(tmp_path / "rows.jsonl")  # the very bytes, behind a link
        (files / "docs").mkdir()
        (files / "docs/a\nb.md").write_text("x")
        problems = self.refused(frozen).problems.errors
        assert {problem.code for problem in problems} == {"E627"}
        assert {problem.path for problem in problems} == {
            "files/constraints.txt",
            "files/finetune/evil.py",
            "extra",
            "files/scripts/link.py",
            "files/configs/folder",
            "files/data/raw/pipe.jsonl",
            "files/data/raw/rows.jsonl",
            "files/docs/a\\nb.md",
        }

    def test_a_link_as_long_as_the_file_it_stands_for(self, frozen: Workspace):
        path = frozen.input / "files/constraints.txt"
        kept = frozen.root / "build" / "kept"
        shutil.move(path, kept)
        size = kept.stat().st_size
        path.symlink_to("../.." + "/" * (size - len("../..kept")) + "kept")
        assert (path.lstat().st_size, path.read_bytes()) == (size, kept.read_bytes())
        assert [problem.message for problem in self.refused(frozen).problems.errors] == ["no regular file", "missing"]

    @pytest.mark.parametrize("name", ["files/data/raw/rows.jsonl", "files/bomb.bin", INPUT])
    def test_ten_sparse_gigabytes_are_refused_by_their_size(self, frozen: Workspace, name: str, monkeypatch: Any):
        with open(frozen.input / name, "ab") as file:
            file.truncate(10 * 2**30)
        read: list[Path] = []
        whole = provenance.sha256
        monkeypatch.setattr(provenance, "sha256", lambda path: (read.append(path), whole(path))[1])
        assert self.refused(frozen).code in ("E100", "E626")
        assert all(path.stat().st_size < 10**6 for path in read)

    def test_a_flood_of_files_is_not_walked_to_its_end(self, frozen: Workspace, monkeypatch: Any):
        monkeypatch.setattr("finetune.github.train.frozen.MAX_FILES", 5)
        for number in range(50):
            (frozen.input / f"{number}.txt").write_text("x")
        assert "far more files" in str(self.refused(frozen))

    @pytest.mark.parametrize(
        "change",
        [
            {"files": {"../x": {"sha256": "0" * 64, "bytes": 0}}},
            {"files": {"/etc/x": {"sha256": "0" * 64, "bytes": 0}}},
            {"files": {"a//b": {"sha256": "0" * 64, "bytes": 0}}},
            {"files": {"a/./b": {"sha256": "0" * 64, "bytes": 0}}},
            {"files": {".git/x": {"sha256": "0" * 64, "bytes": 0}}},
            {"files": {"a": {"sha256": "0", "bytes": 0}}},
            {"files": {"a": {"sha256": "0" * 64, "bytes": MAX_FILE_BYTES + 1}}},
            {"files": ["a"]},
            {"version": 2},
            {"files": {"a": {"sha256": "0" * 64, "bytes": -1}}},
            {"sha": "main"},
            {"pr": "7"},
            {"source": "elsewhere"},
            {"fingerprint": None},
            {"extra": 1},
            {"test": {"sha256": "0" * 64, "rows": 1.5}},
            {"policy_changes": "none"},
        ],
    )
    def test_a_manifest_of_another_form_is_refused_even_with_its_digest(self, frozen: Workspace, change: Any):
        manifest = json.loads((frozen.input / INPUT).read_text())
        provenance.write_json(frozen.input / INPUT, {**manifest, **change})
        assert self.refused(frozen, provenance.sha256(frozen.input / INPUT)).code == "E626"

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff"])
    def test_a_manifest_that_is_no_json_object(self, frozen: Workspace, content: bytes):
        (frozen.input / INPUT).write_bytes(content)
        assert self.refused(frozen, provenance.sha256(frozen.input / INPUT)).code == "E626"

    def test_no_input_at_all(self, frozen: Workspace):
        shutil.rmtree(frozen.input)
        assert self.refused(frozen).code == "E626"


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("configs/tokenizer/tokenizer.json", True),
        ("configs/tokenizer/chat_template.jinja", True),
        ("configs/tokenizer/manifest.json", True),
        ("configs/tokenizer/tokenizer.py", False),
        ("configs/tokenizer/model.safetensors", False),
        ("configs/tokenizer/more/tokenizer.json", False),
    ],
)
def test_the_committed_tokenizer_is_frozen_file_by_file(path: str, taken: bool):
    """Step 02 on the training runner checks with it, and step 03 compares it with the base model."""
    assert is_input(path) == taken


def test_what_the_steps_import_is_frozen():
    """Also inside functions: a module that is not frozen would be missing on the training runner only."""
    code = [path.relative_to(ROOT).as_posix() for top in CODE for path in (ROOT / top).rglob("*.py")]
    frozen = {name for name in code if is_input(name)}
    assert {*STEPS, START, "finetune/errors.py", "finetune/training/trainer.py"} <= frozen
    missing = set()
    for name in frozen:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "finetune":
                inner = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
                files = {form.format(part.replace(".", "/")) for part in inner for form in ("{}.py", "{}/__init__.py")}
                missing |= (files & set(code)) - frozen
    assert not missing


def test_the_steps_start_in_a_folder_of_their_frozen_files(tmp_path: Path):
    for path in (path for top in CODE for path in (ROOT / top).rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and is_input(name) and name.endswith((".py", ".j2")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, tmp_path / name)
    load = f"import runpy, finetune\nfor step in {STEPS}: runpy.run_path(step)\nprint(finetune.__file__, end='')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", load],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ".:scripts"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout) == tmp_path / "finetune" / "__init__.py"
