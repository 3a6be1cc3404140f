"""A run that is killed anywhere goes on, to the same bytes; what another run has written is never lost in silence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asking import jsonl, read, ready, texts
from disk import names
from finetune.console import run
from finetune.errors import FinetuneError
from finetune.inference import predict as stage
from finetune.inference.predict import predict
from repository import ROOT

WINDOW = 8

# A run that ends itself by SIGKILL at a place: half of a window's bytes are written, a rename is the next thing to do.
KILLED = """
import os, pathlib, signal, sys
from finetune.config.project import load_project
from finetune.inference import part, predict
place, window, project, source, out = sys.argv[1:]
predict.WINDOW = int(window)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

append, replace, windows = part.PartialOutput.append, os.replace, 0

def counted(self, lines):
    global windows
    windows += 1
    if f"window {windows}" == place:
        data = b"".join(lines)
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        die()
    append(self, lines)

def renamed(old, new):
    name = pathlib.Path(new).name
    if place == "before " + name:
        die()
    replace(old, new)

part.PartialOutput.append, os.replace = counted, renamed
if place == "model":
    predict.open_backend = lambda *_: die()
predict.predict(load_project(pathlib.Path(project)), source, out)
"""


def killed(project: Any, place: str, source: str, out: Path) -> None:
    command = [sys.executable, "-c", KILLED, place, str(WINDOW), str(project.paths.root), source, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr


@pytest.fixture
def project(make_project: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(stage, "WINDOW", WINDOW)
    return ready(make_project, task={"output": {"max_new_tokens": 4}})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call of a model got."""
    from finetune.evaluation.backends import TransformersBackend

    calls: list[int] = []
    generate = TransformersBackend.generate

    def counted(self: Any, conversations: Any, max_new_tokens: int) -> Any:
        calls.append(len(conversations))
        return generate(self, conversations, max_new_tokens)

    monkeypatch.setattr(TransformersBackend, "generate", counted)
    return calls


def test_killed_again_and_again_it_writes_the_bytes_of_an_unbroken_run(
    project: Any, tmp_path: Path, asked: list[int]
) -> None:
    source, out, whole = jsonl(tmp_path / "in.jsonl", texts(30)), tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    predict(project, source, str(whole))
    assert asked == [8, 8, 8, 6] and len({row["prediction"]["text"] for row in read(whole)}) > 20
    for place, rows in (
        ("model", 0),
        ("window 1", 0),
        ("window 2", 8),
        ("before out.jsonl", 30),
        ("before out.jsonl", 30),
    ):
        killed(project, place, source, out)
        part = (tmp_path / "out.jsonl.part").read_bytes()
        kept = b"".join(part.splitlines(keepends=True)[:rows])
        assert not out.exists() and whole.read_bytes().startswith(kept)
    killed(project, "before out.jsonl.manifest.json", source, out)
    assert out.exists() and not (tmp_path / "out.jsonl.manifest.json").exists()
    asked.clear()
    assert predict(project, source, str(out)) == 0
    assert out.read_bytes() == whole.read_bytes() and asked == []
    left = {"out.jsonl", "out.jsonl.manifest.json"}
    assert {name for name in names(tmp_path) if name.startswith("out")} == left


@pytest.mark.parametrize("rows", [0, 3, 8, 17, 29, 30])
def test_whole_windows_are_kept_and_nothing_else_is_asked(
    project: Any, tmp_path: Path, asked: list[int], rows: int
) -> None:
    source, out, whole = jsonl(tmp_path / "in.jsonl", texts(30)), tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    predict(project, source, str(whole))
    _stop_after(project, source, out, whole.read_bytes().splitlines(keepends=True)[:rows])
    asked.clear()
    predict(project, source, str(out))
    assert out.read_bytes() == whole.read_bytes()
    assert sum(asked) == (0 if rows == 30 else 30 - rows // WINDOW * WINDOW)


def _stop_after(project: Any, source: str, out: Path, lines: list[bytes]) -> None:
    """OUT.part with `lines` and half of another one, as a killed run leaves it."""
    with pytest.MonkeyPatch.context() as patch:

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(stage, "open_backend", stop)
        with pytest.raises(KeyboardInterrupt):
            predict(project, source, str(out))
    out.with_name(out.name + ".part").write_bytes(b"".join(lines) + (b'{"input": "mess' if len(lines) < 30 else b""))


def test_a_second_run_is_up_to_date_until_something_changes(
    project: Any, make_project: Callable[..., Any], tmp_path: Path, asked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = jsonl(tmp_path / "in.jsonl", texts(5)), tmp_path / "out.jsonl"
    predict(project, source, str(out))
    predict(project, source, str(out))
    assert asked == [5] and "out.jsonl is up to date" in capsys.readouterr().err
    before = out.read_bytes()
    for change, word in {
        "input": "the input",
        "adapter": "the model",
        "prompt": "the task",
        "cap": "the task, the settings",
        "by hand": "it was changed by hand",
        "stranger": "no manifest says where it comes from",
    }.items():
        target, other = out, project
        if change == "input":
            source = jsonl(tmp_path / "in.jsonl", texts(6))
        elif change == "adapter":
            jsonl(tmp_path / "in.jsonl", texts(5))
            (project.paths.adapter / "more.txt").write_text("changed")
        elif change == "prompt":
            (project.paths.adapter / "more.txt").unlink()
            other = make_project(task={"system_prompt": "Sort. {labels}", "output": {"max_new_tokens": 4}})
        elif change == "cap":
            other = make_project(task={"output": {"max_new_tokens": 3}})
        elif change == "by hand":
            out.write_bytes(before + b"{}\n")
        else:
            target = Path(jsonl(tmp_path / "mine.jsonl", texts(1)))
        kept = target.read_bytes()
        with pytest.raises(FinetuneError) as caught:
            predict(other, source, str(target))
        assert caught.value.code == "E444" and f"({word})" in caught.value.message.replace("changed: ", "")
        assert target.read_bytes() == kept and "--force" in caught.value.fix
    (tmp_path / "mine.jsonl").unlink()


def test_force_replaces_an_output_only_when_the_new_one_is_whole(
    project: Any, tmp_path: Path, asked: list[int]
) -> None:
    source, out = jsonl(tmp_path / "in.jsonl", texts(20)), tmp_path / "out.jsonl"
    out.write_text("mine\n")
    lines = jsonl(tmp_path / "copy.jsonl", texts(20))
    predict(project, lines, str(tmp_path / "whole.jsonl"))
    whole = (tmp_path / "whole.jsonl").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "open_backend", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict(project, source, str(out), force=True)
    assert out.read_text() == "mine\n"
    (tmp_path / "out.jsonl.part").write_bytes(b"".join(whole.splitlines(keepends=True)[:8]))
    asked.clear()
    predict(project, source, str(out), force=True)
    assert out.read_bytes() == whole and asked == [8, 4], "the same command, --force included, goes on"


def test_a_part_of_another_run_is_refused_and_kept(project: Any, tmp_path: Path) -> None:
    source, out, part = jsonl(tmp_path / "in.jsonl", texts(20)), tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    _stop_after(project, source, out, [b'{"input":"x"}\n'] * 8)
    jsonl(tmp_path / "in.jsonl", texts(21))
    kept = part.read_bytes()
    with pytest.raises(FinetuneError, match=r"E445 .*changed: the input"):
        predict(project, source, str(out))
    assert part.read_bytes() == kept
    (tmp_path / "out.jsonl.part.json").unlink()
    with pytest.raises(FinetuneError, match=r"E445 .*no manifest"):
        predict(project, source, str(out))
    assert part.read_bytes() == kept
    predict(project, source, str(out), force=True)
    assert [row["id"] for row in read(out)] == [f"r{i}" for i in range(21)] and not part.exists()


def test_two_runs_never_write_into_one_part(project: Any, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    source, out = jsonl(tmp_path / "in.jsonl", texts(20)), tmp_path / "out.jsonl"
    _stop_after(project, source, out, [])
    with open(tmp_path / "out.jsonl.part", "r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FinetuneError, match="E446 another run is writing"):
            predict(project, source, str(out))
    predict(project, source, str(out))
    assert len(read(out)) == 20


def test_a_moved_output_is_still_the_runs_own(project: Any, tmp_path: Path, asked: list[int]) -> None:
    source, out = jsonl(tmp_path / "in.jsonl", texts(5)), tmp_path / "a" / "out.jsonl"
    predict(project, source, str(out))
    shutil.move(tmp_path / "a", tmp_path / "b")
    predict(project, source, str(tmp_path / "b" / "out.jsonl"))
    assert asked == [5]
    record = json.loads((tmp_path / "b" / "out.jsonl.manifest.json").read_text())
    assert str(tmp_path) not in json.dumps(record), "no path of this machine is kept"


def test_who_interrupts_it_is_told_that_it_goes_on(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = jsonl(tmp_path / "in.jsonl", texts(2 * WINDOW)), tmp_path / "out.jsonl"

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "open_backend", interrupted)
    assert run(predict, project=project.paths.root, source=source, output=str(out)) == 75
    assert "run the same command again: answers that are written are kept" in capsys.readouterr().err
