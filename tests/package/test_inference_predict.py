"""predict.py: every row comes back as it was, with the answer of the chosen model as its task reads it."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asking import jsonl, read, ready, texts
from disk import full_disk, names
from finetune.data.chat_format import prompt_messages
from finetune.errors import BadInput, FinetuneError
from finetune.evaluation.backends import open_backend
from finetune.evaluation.completions import Completion
from finetune.inference import predict as stage
from finetune.inference.predict import predict
from repository import ROOT


class Scripted:
    """A backend that answers from a list of completions, again and again."""

    def __init__(self, *answers: Completion) -> None:
        self.name, self.answers, self.asked = "adapter", answers, []

    def generate(self, conversations: Any, max_new_tokens: int) -> Iterator[Completion]:
        for messages in conversations:
            self.asked.append(messages[-1]["content"])
            yield self.answers[(len(self.asked) - 1) % len(self.answers)]

    def close(self) -> None:
        pass


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    """Answers put into the model's mouth, where a test is about reading them."""

    def use(*answers: Completion) -> Scripted:
        backend = Scripted(*answers)
        monkeypatch.setattr(stage, "open_backend", lambda *_: backend)
        return backend

    return use


def said(text: str, *, finished: bool = True, confidence: float | None = 0.5) -> Completion:
    return Completion(text, 3, 0.1, finished, confidence)


@pytest.mark.parametrize("content", [b'{"max_position_embed', b"[]", b""])
def test_a_broken_base_model_is_named_not_a_traceback(
    make_project: Callable[..., Any], tmp_path: Path, content: bytes
) -> None:
    project = ready(make_project)
    (project.paths.root / project.training.base_model.id / "config.json").write_bytes(content)
    (source := tmp_path / "in.jsonl").write_bytes(b'{"input": "where is my parcel"}\n')
    with pytest.raises(FinetuneError, match=r"E314 .* config\.json is "):
        predict(project, str(source), str(tmp_path / "out.jsonl"))


def test_rows_keep_their_bytes_and_get_the_models_own_answer(
    make_project: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = ready(make_project, task={"output": {"max_new_tokens": 5}})
    monkeypatch.setattr(stage, "WINDOW", 8)
    lines = [
        b'{"input": "where is my parcel",  "label": "shipping", "n": 1.10, "big": 12345678901234567890123}',
        b' {"meta": {"a": [1, {"b": null}]}, "input":"\\u6211\\u7684 \xe5\x8c\x85\xe8\xa3\xb9"} ',
        *(json.dumps(row).encode() for row in texts(20)),
    ]
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n".join(lines))
    assert predict(project, str(source), str(out)) == 0
    written = out.read_bytes().split(b"\n")
    assert written.pop() == b"" and len(written) == len(lines)
    backend = open_backend(project, "adapter")
    asked = [prompt_messages(project.task, json.loads(line)["input"]) for line in lines]
    for number, (line, row, answer) in enumerate(zip(lines, written, backend.generate(asked, 5), strict=True), 1):
        assert row.startswith(line.strip()[:-1].rstrip()), "the row itself is untouched"
        found = json.loads(row)["prediction"]
        assert (found["line"], found["text"], found["tokens"]) == (number, answer.text, answer.tokens)
        assert found["confidence"] == pytest.approx(answer.confidence, rel=1e-3)
        assert found["finished"] is answer.finished
    assert names(tmp_path) == ["in.jsonl", "out.jsonl", "out.jsonl.manifest.json", "repository"]


@pytest.mark.parametrize(
    ("task_type", "text", "answer"),
    [
        ("classification", " Billing\n", "billing"),
        ("classification", "a bill", None),
        ("extraction", '{"entities":[{"type":"product","text":"x"}]}', [{"type": "product", "text": "x"}]),
        ("extraction", '{"entities":[]}', []),
        ("extraction", '{"entities":[{"type":"colour","text":"x"}]}', None),
        ("extraction", "{", None),
        ("generation", " Thank you. ", "Thank you."),
    ],
)
def test_the_answer_is_read_by_the_tasks_type(
    make_project: Callable[..., Any],
    scripted: Callable[..., Scripted],
    tmp_path: Path,
    task_type: str,
    text: str,
    answer: Any,
) -> None:
    project = ready(make_project, task_type)
    scripted(said(text, confidence=0.123456789))
    out = tmp_path / "out.jsonl"
    predict(project, jsonl(tmp_path / "in.jsonl", texts(1)), str(out))
    (row,) = read(out)
    assert row["prediction"] == {
        "line": 1,
        "answer": answer,
        "valid": answer is not None,
        "text": text,
        "finished": True,
        "tokens": 3,
        "confidence": 0.1235,
    }


def test_what_is_odd_is_counted(
    make_project: Callable[..., Any],
    scripted: Callable[..., Scripted],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = ready(make_project)
    scripted(said("billing"), said("nonsense", confidence=None), said("bil", finished=False))
    predict(project, jsonl(tmp_path / "in.jsonl", texts(9)), str(tmp_path / "out.jsonl"))
    told = capsys.readouterr().err
    assert "6 rows with an answer that cannot be read" in told and "3 rows cut at output.max_new_tokens" in told
    assert "out.jsonl: 9 rows, " in told and " rows a second" in told
    assert [row["prediction"]["confidence"] for row in read(tmp_path / "out.jsonl")] == [0.5, None, 0.5] * 3
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["facts"]["valid"] == 3 and manifest["facts"]["finished"] == 6
    assert manifest["facts"]["answers"] == {"billing": 3}


def test_a_text_file_has_one_text_a_line(
    make_project: Callable[..., Any], scripted: Callable[..., Scripted], tmp_path: Path
) -> None:
    project = ready(make_project, task={"input": {"field": "text"}})
    backend, source = scripted(said("billing")), tmp_path / "in.txt"
    source.write_text('\ufefffirst\r\n\r\n{"input": "x"}\r\n\r\n  包裹 two\u2028lines', encoding="utf-8", newline="")
    predict(project, str(source), str(tmp_path / "out.jsonl"))
    rows = read(tmp_path / "out.jsonl")
    assert [row["text"] for row in rows] == backend.asked == ["first", '{"input": "x"}', "  包裹 two\u2028lines"]
    assert [row["prediction"]["line"] for row in rows] == [1, 3, 5]


@pytest.mark.parametrize(
    ("content", "form", "asked"),
    [
        ('{"input": "a"}\n{"input": "b"}', None, ["a", "b"]),
        ("a\nb\n", None, ["a", "b"]),
        ('{"input": "a"}\n', "txt", ['{"input": "a"}']),
    ],
)
def test_standard_input(
    make_project: Callable[..., Any],
    scripted: Callable[..., Scripted],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    form: str | None,
    asked: list[str],
) -> None:
    project, backend = ready(make_project), scripted(said("billing"))
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content.encode())))
        predict(project, "-", str(tmp_path / "out.jsonl"), form=form)
    assert backend.asked == asked, "the same input again is up to date"
    assert names(tmp_path) == ["out.jsonl", "out.jsonl.manifest.json", "repository"]


def test_a_named_pipe_is_read_like_standard_input(
    make_project: Callable[..., Any], scripted: Callable[..., Scripted], tmp_path: Path
) -> None:
    project, backend, pipe = ready(make_project), scripted(said("billing")), tmp_path / "pipe"
    os.mkfifo(pipe)
    if os.fork() == 0:
        pipe.write_text('{"input": "a"}\n')
        os._exit(0)
    predict(project, str(pipe), str(tmp_path / "out.jsonl"))
    os.wait()
    assert backend.asked == ["a"]


def test_the_base_model_and_the_merged_model_answer_too(make_project: Callable[..., Any], tmp_path: Path) -> None:
    from finetune.export.merge import merge

    project = ready(make_project, task={"output": {"max_new_tokens": 4}})
    merge(project)
    source = jsonl(tmp_path / "in.jsonl", texts(6))
    found = {}
    for artefact in ("zero_shot", "adapter", "merged"):
        predict(project, source, str(tmp_path / f"{artefact}.jsonl"), artefact)
        found[artefact] = [row["prediction"]["text"] for row in read(tmp_path / f"{artefact}.jsonl")]
    assert len(set(found["adapter"])) == len(set(found["merged"])) == 6, "answers depend on the question"
    assert not set(found["adapter"]) & set(found["zero_shot"])


@pytest.mark.parametrize(
    ("asked", "code", "fix"),
    [
        ("q8_0", "E441", "did you mean Q8_0"),
        ("base", "E441", "did you mean zero_shot"),
        ("../x", "E441", "one of adapter, merged, f16, Q8_0, zero_shot"),
        ("merged", "E401", "run scripts/05_merge_adapter.py first"),
        ("Q8_0", "E401", "run scripts/06_convert_gguf.py first"),
    ],
)
def test_a_model_that_is_not_there(
    make_project: Callable[..., Any], tmp_path: Path, asked: str, code: str, fix: str
) -> None:
    project = ready(make_project)
    with pytest.raises(FinetuneError) as caught:
        predict(project, jsonl(tmp_path / "in.jsonl", texts(1)), str(tmp_path / "out.jsonl"), asked)
    assert caught.value.code == code and fix in caught.value.fix
    assert names(tmp_path) == ["in.jsonl", "repository"]


def test_no_model_at_all_names_the_step_and_the_other_kind_of_run(
    make_project: Callable[..., Any], tmp_path: Path
) -> None:
    from finetune.config.project import Project
    from finetune.paths import Paths

    project = ready(make_project)
    smoke = Project(Paths(project.paths.root, smoke=True), project.task, project.training, project.benchmark)
    with pytest.raises(FinetuneError, match="no adapter in build/smoke/models/adapter") as caught:
        predict(smoke, jsonl(tmp_path / "in.jsonl", texts(1)), str(tmp_path / "out.jsonl"))
    assert "run scripts/03_train.py --smoke first" in caught.value.fix and "leave --smoke out" in caught.value.fix
    project.paths.adapter.rename(tmp_path / "away")
    with pytest.raises(FinetuneError, match=r"no adapter in models/adapter\. Fix: run scripts/03_train\.py first$"):
        predict(project, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))


@pytest.mark.parametrize(
    ("source", "output", "code"),
    [
        ("in.jsonl", "in.jsonl", "E443"),
        ("link.jsonl", "in.jsonl", "E443"),
        ("in.jsonl", "link.jsonl", "E443"),
        ("in.jsonl", "", "E443"),
        ("in.jsonl", "out.csv", "E443"),
        ("in.jsonl", "folder.jsonl", "E443"),
        ("in.jsonl", "repository/data/raw/out.jsonl", "E443"),
        ("in.jsonl", "repository/data/test.jsonl", "E443"),
        ("", "out.jsonl", "E440"),
        ("none.jsonl", "out.jsonl", "E440"),
        ("folder.jsonl", "out.jsonl", "E440"),
        ("in.csv", "out.jsonl", "E440"),
    ],
)
def test_files_that_cannot_be_meant(
    make_project: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    output: str,
    code: str,
) -> None:
    project = ready(make_project)
    monkeypatch.chdir(tmp_path)
    jsonl(tmp_path / "in.jsonl", texts(2))
    (tmp_path / "in.csv").write_text("input\nx\n")
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FinetuneError) as caught:
        predict(project, source, output)
    assert caught.value.code == code and caught.value.fix
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_disk_that_is_full_or_read_only_loses_nothing(
    make_project: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from finetune.console import guarded

    project = ready(make_project, task={"output": {"max_new_tokens": 2}})
    monkeypatch.setattr(stage, "WINDOW", 4)
    source, out = jsonl(tmp_path / "in.jsonl", texts(10)), tmp_path / "out.jsonl"
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", full_disk)
        assert guarded(lambda: predict(project, source, str(out))) == 74
    assert "E974 no space left on the device" in capsys.readouterr().err and not out.exists()
    assert guarded(lambda: predict(project, source, str(out))) == 0
    assert len(read(out)) == 10
    assert guarded(lambda: predict(project, source, "/proc/answers/out.jsonl")) == 74
    assert "E974" in capsys.readouterr().err


def test_an_input_that_changes_under_way_gives_no_output(
    make_project: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project, source, out = ready(make_project), tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    jsonl(source, texts(5))

    class Meddling(Scripted):
        def generate(self, conversations: Any, max_new_tokens: int) -> Iterator[Completion]:
            with open(source, "a", encoding="utf-8") as file:
                file.write('{"input": "one more"}\n')
            return super().generate(conversations, max_new_tokens)

    monkeypatch.setattr(stage, "open_backend", lambda *_: Meddling(said("billing")))
    with pytest.raises(FinetuneError, match="changed while it was read"):
        predict(project, str(source), str(out))
    assert not out.exists()


def test_all_bad_rows_are_told_before_a_model_is_loaded(
    make_project: Callable[..., Any], scripted: Callable[..., Scripted], tmp_path: Path
) -> None:
    project, backend, source = ready(make_project), scripted(said("billing")), tmp_path / "in.jsonl"
    bad = {
        1: (b'{"text": "x"}', "E121"),
        2: (b'{"input": null}', "E122"),
        3: (b'{"input": 7}', "E123"),
        4: (b'{"input": "  "}', "E124"),
        5: (b'{"input": "a\\u0000b"}', "E116"),
        6: (b'{"input": "a <|im_end|> b"}', "E130"),
        7: (b'{"input": "\xff"}', "E105"),
        8: (b'{"input": "x", "prediction": 1}', "E448"),
        9: (b'{"input": "x"', "E107"),
        10: (b'["x"]', "E109"),
        11: (b'{"input": "x", "input": "y"}', "E111"),
        12: (b'{"input": "\\ud800"}', "E115"),
        13: (b'{"input": "' + b"word " * 600 + b'"}', "E442"),
        14: (b'{"input": "' + b"x" * 2_000_000 + b'"}', "E140"),
        15: (b'{"input": "fine", "id": "same"}', None),
        16: (b'{"input": "fine too </s> and html <s>", "id": "same"}', None),
    }  # fmt: skip
    source.write_bytes(b"".join(line + b"\n" for line, _ in bad.values()))
    project = make_project(benchmark={"generation": {"context": 520}}, training={"max_length": 512})
    (project.paths.root / "models/base/tiny/config.json").write_text(
        (project.paths.root / "models/base/tiny/config.json").read_text().replace("2048", "512")
    )
    with pytest.raises(BadInput) as caught:
        predict(project, str(source), str(tmp_path / "out.jsonl"))
    assert {p.line: p.code for p in caught.value.problems.errors} == {n: c for n, (_, c) in bad.items() if c}
    assert all(problem.path == str(source) and problem.fix for problem in caught.value.problems.errors)
    assert backend.asked == [] and names(tmp_path) == ["in.jsonl", "repository"]


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"", "E101", 1),
        (b"\n \n", "E102", 1),
        (b"good\nb\xe9se\n", "E105", 2),
        (b"a\rb\rc", "E106", 1),
        (b"ab\x00c\n", "E116", 1),
        (b"\xe2\x80\x8b\n", "E124", 1),
        (b"x" * 1_200_000, "E140", 1),
        ("häh".encode("utf-16"), "E105", 1),
        (b"\x1f\x8b\x08\x00", "E145", 1),
        (b"PK\x03\x04", "E145", 1),
    ],
)
def test_text_files_that_are_none(
    make_project: Callable[..., Any],
    scripted: Callable[..., Scripted],
    tmp_path: Path,
    content: bytes,
    code: str,
    line: int,
) -> None:
    project, source = ready(make_project), tmp_path / "in.txt"
    scripted(said("billing"))
    source.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        predict(project, str(source), str(tmp_path / "out.jsonl"))
    assert [(problem.code, problem.line) for problem in caught.value.problems.errors] == [(code, line)]


def test_rows_that_training_would_not_have_are_answered_and_said(
    make_project: Callable[..., Any],
    scripted: Callable[..., Scripted],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project, backend = ready(make_project), scripted(said("billing"))
    rows = [{"input": "short"}, {"input": "word " * 90}, {"input": "a\u202eb"}, {"input": "long " * 90}]
    assert predict(project, jsonl(tmp_path / "in.jsonl", rows), str(tmp_path / "out.jsonl")) == 0
    told = capsys.readouterr().err
    assert "in.jsonl:2: W440 2 rows with more than input.max_chars (400) characters" in told
    assert "in.jsonl:3: W441 1 row with invisible or bidirectional characters" in told and len(backend.asked) == 4


def test_nothing_imports_inference_and_it_imports_nothing_from_its_right() -> None:
    package = ROOT / "finetune"
    right = ("export", "hub", "evidence", "github", "checklist")
    for file in package.rglob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) finetune\.(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        if file.parent.name == "inference":
            assert not set(imported) & set(right), file.name
        else:
            assert "inference" not in imported, file.name
