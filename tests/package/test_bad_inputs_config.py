"""Bad configuration, C1 to C34: each in one of the three files of a good repository, through the first step.

No configuration names a data file (C20, C21, C23): data lies in data/raw, splits follow from a hash, and a key that
would name a file is unknown (E206); what may name a place is the base model (E223), and a link out of data/ is E220.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from bad_inputs import CONVERTED, tree
from config_files import BENCHMARK, TASK, TRAINING, pinned_repository
from finetune.config.project import load_project
from finetune.console import run
from finetune.data.stage import convert, validate

RATE, EPOCHS, SIZE = "  learning_rate: 0.001", "  epochs: 2", "  per_device: 4"
ID = "  id: models/base/tiny"
BOMB = "a0: &a0 lol\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))


@dataclass(frozen=True)
class Bad:
    """One line of a file replaced (or, without `old`, the whole file), and the problem expected there."""

    file: str
    old: str | None
    new: str | bytes
    code: str
    key: str | None = None
    line: int | None = None
    says: str = ""


def edit(case: str, file: str, old: str, new: str, code: str, key: str, says: str = "", line: int = 0) -> Any:
    """`line`: how many lines below the replaced one the problem stands."""
    return pytest.param(Bad(file, old, new, code, key, line, says), id=case)


def whole(case: str, content: str | bytes, code: str, line: int | None, says: str = "", key: str | None = None) -> Any:
    return pytest.param(Bad(TRAINING, None, content, code, key, line, says), id=case)


CASES = [
    edit("C2 no", TASK, "language: en", "language: no", "E201", "language", 'quote it: "no"'),
    edit("C2 on", TASK, "  - name: billing", "  - name: on", "E201", "output.labels.0.name"),
    edit("C2 yes", TASK, "  field: label", "  field: yes", "E201", "output.field"),
    edit("C3 octal", TRAINING, "  r: 4", "  r: 010", "E202", "lora.r"),
    edit("C3 base 60", TRAINING, "  r: 4", "  r: 1:30", "E202", "lora.r"),
    edit("C4 nan", TRAINING, RATE, "  learning_rate: .nan", "E203", "optimiser.learning_rate", "must be a finite"),
    edit("C4 inf", BENCHMARK, "  train: 0.6", "  train: .inf", "E203", "splits.train"),
    edit("C5 true", TRAINING, EPOCHS, "  epochs: true", "E204", "optimiser.epochs", "true is not a number"),
    edit("C6 8.5", TRAINING, SIZE, "  per_device: 8.5", "E204", "batch.per_device", "a whole number"),
    edit("C6 text", TRAINING, SIZE, '  per_device: "8"', "E204", "batch.per_device"),
    edit("C7 repeated key", TRAINING, EPOCHS, EPOCHS + "\n  epochs: 3", "E205", "optimiser.epochs", line=1),
    edit("C8 typo", TRAINING, EPOCHS, EPOCHS + "\n  wamup_ratio: 0", "E206", "optimiser.wamup_ratio",
         "did you mean warmup_ratio?", line=1),
    whole("C9 empty file", "", "E207", None),
    whole("C9 only a comment", "# nothing\n", "E207", None),
    whole("C10 list at top", "- a\n- b\n", "E207", None),
    whole("C11 two documents", "a: 1\n---\nb: 2\n", "E208", 2),
    whole("C12 tab", "version: 1\nlora:\n\tr: 4\n", "E209", 3, "use spaces"),
    edit("C13 python", TRAINING, EPOCHS, "  epochs: !!python/object/apply:os.system [id]", "E210", "optimiser.epochs"),
    edit("C14 binary", TRAINING, EPOCHS, "  epochs: !!binary aGk=", "E210", "optimiser.epochs", "tags are not allowed"),
    edit("C14 set", TRAINING, EPOCHS, "  epochs: !!set {a, b}", "E210", "optimiser.epochs"),
    edit("C14 date", TASK, "  example: billing", "  example: 2024-01-01", "E210", "output.example", "a bare date"),
    whole("C15 alias bomb", BOMB, "E211", 1),
    whole("C16 recursive alias", "version: 1\na: &a [*a]\n", "E211", 2),
    whole("C17 depth 5000", "a: " + "[" * 5000 + "]" * 5000 + "\n", "E212", 1),
    whole("C18 more than 256 KB", "a: " + "x" * 262_144, "E213", None),
    whole("C19 NUL", "a: 1\nb: \0\n", "E214", 2),
    whole("C19 escape", "a: 1\nb: \x1b[0m\n", "E214", 2),
    whole("C19 invalid UTF-8", b"a: 1\nb: \xff\n", "E214", 2),
    *[
        edit(f"C20 {path!r}", TRAINING, ID, f"  id: {json.dumps(path)}", "E223", "base_model.id")
        for path in (
            "../../etc/passwd", "/etc/passwd", "~/model", "C:\\models", "https://example.org/m", "models/base/../../x",
            "models/base", "models/base/", "models/base/.git",
        )
    ],
    edit("C20 NUL", TRAINING, ID, '  id: "models/base/a\\0b"', "E214", "base_model.id"),
    edit("C20 train_file", TASK, "  expected_rows: 60", "  expected_rows: 60\n  train_file: ../../etc/passwd", "E206",
         "data.train_file", line=1),
    edit("C23 eval_file", TASK, "  expected_rows: 60", "  expected_rows: 60\n  eval_file: rows.jsonl", "E206",
         "data.eval_file", line=1),
    edit("C24 no Hub id", TRAINING, ID, "  id: tiny", "E223", "base_model.id", "neither a Hub id nor a folder"),
    edit("C24 dots", TRAINING, ID, "  id: owner/a..b", "E223", "base_model.id"),
    edit("C24 option", TRAINING, ID, "  id: --help/x", "E223", "base_model.id"),
    edit("C24 revision", TRAINING, f"  revision: '{'0' * 40}'", "  revision: a b", "E223", "base_model.revision"),
    edit("C25 trust_remote_code", TRAINING, ID, ID + "\n  trust_remote_code: true", "E206",
         "base_model.trust_remote_code", "never run", line=1),
    edit("C26 rate 0", TRAINING, RATE, "  learning_rate: 0", "E224", "optimiser.learning_rate", "greater than 0"),
    edit("C26 rate above 1", TRAINING, RATE, "  learning_rate: 2", "E224", "optimiser.learning_rate", "less than or"),
    edit("C26 no epochs", TRAINING, EPOCHS, "  epochs: 0", "E224", "optimiser.epochs"),
    edit("C26 r 0", TRAINING, "  r: 4", "  r: 0", "E224", "lora.r"),
    edit("C26 alpha", TRAINING, "  alpha: 8", "  alpha: -1", "E224", "lora.alpha"),
    edit("C26 dropout", TRAINING, "  dropout: 0.0", "  dropout: 1.5", "E224", "lora.dropout"),
    edit("C26 warmup", TRAINING, RATE, RATE + "\n  warmup_ratio: 2", "E224", "optimiser.warmup_ratio", line=1),
    edit("C27 no list", TRAINING, "  r: 4", "  r: 4\n  target_modules: []", "E225", "lora.target_modules", line=1),
    edit("C27 head", TRAINING, "  r: 4", "  r: 4\n  target_modules: [lm_head]", "E225", "lora.target_modules", line=1),
    edit("C28 context", TRAINING, "max_length: 512", "max_length: 1024", "E226", "generation.context"),
    edit("C29 too large", TRAINING, "max_length: 512", "max_length: 512\nseed: 4294967296", "E227", "seed", line=1),
    edit("C29 empty", TRAINING, "max_length: 512", "max_length: 512\nseed:", "E227", "seed", line=1),
    edit("C30 0", TASK, "  threshold: 0.8", "  threshold: 0", "E228", "metrics.threshold", "every model or none"),
    edit("C30 above 1", TASK, "  threshold: 0.8", "  threshold: 80", "E228", "metrics.threshold"),
    edit("C30 nan", TASK, "  threshold: 0.8", "  threshold: .nan", "E203", "metrics.threshold"),
    edit("C30 metric", TASK, "  primary: macro_f1", "  primary: loss", "E228", "metrics.primary", "one of macro_f1"),
    edit("C31 unknown", BENCHMARK, "- Q8_0", "- Q9_9", "E229", "quantisations", "one of f16"),
    edit("C31 lower case", BENCHMARK, "- Q8_0", "- q8_0", "E229", "quantisations", "did you mean Q8_0?"),
    *[
        edit(f"C32 {repo}", TASK, "  adapter: acme/small-task-lora", f"  adapter: {repo}", "E230", "hub.adapter")
        for repo in ("acme", "acme/a..b", "acme/a--b", "acme/a/b", "acme/" + "a" * 96, "acme/a.git", "-a/b")
    ],
    edit("C32 equal", TASK, "  adapter: acme/small-task-lora", "  adapter: acme/small-task", "E230", "hub", "differ"),
]  # fmt: skip


@pytest.fixture
def root(make_project: Callable[..., Any]) -> Path:
    return pinned_repository(make_project)


def place(root: Path, bad: Bad) -> tuple[str, int | None]:
    """Put the bad thing there; returns the file and line where the problem is expected."""
    file = root / bad.file
    if bad.old is None:
        file.write_bytes(bad.new if isinstance(bad.new, bytes) else bad.new.encode())
        return bad.file, bad.line
    text = file.read_text(encoding="utf-8")
    assert text.count(bad.old + "\n") == 1, text
    file.write_text(text.replace(bad.old + "\n", f"{bad.new}\n"), encoding="utf-8")
    if bad.key == "generation.context":  # the other file is the one to change
        lines = (root / BENCHMARK).read_text(encoding="utf-8").split("\n")
        return BENCHMARK, lines.index("  context: 768") + 1
    line = text[: text.index(bad.old + "\n")].count("\n") + 1 + (bad.line or 0)
    if bad.key == "hub":  # three repositories together: the section
        line = text.split("\n").index("hub:") + 1
    return bad.file, line if bad.key != "quantisations" else text.split("\n").index("quantisations:") + 1


def first_step(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]], str]:
    capsys.readouterr()
    code = run(validate, project=root, as_json=True)
    output = capsys.readouterr()
    return code, json.loads(output.out)["problems"] if output.out else [], output.out + output.err


@pytest.mark.parametrize("bad", CASES)
def test_a_bad_value_is_named_by_code_file_line_and_key(root, capsys, bad: Bad) -> None:
    expected = place(root, bad)
    before = tree(root)
    code, problems, said = first_step(root, capsys)
    assert [(p["code"], p["path"], p["line"], p["key"]) for p in problems if p["code"][0] == "E"] == [
        (bad.code, *expected, bad.key)
    ]
    assert code == 2 and run(convert, project=root) == 2
    assert tree(root) == before
    said += "".join(capsys.readouterr())
    assert "Traceback" not in said and "E999" not in said
    assert bad.says in json.loads(said.split("\n")[0])["problems"][0]["message"] + problems[0]["fix"]


def test_c1_an_exponent_without_a_dot_is_a_number(root) -> None:
    place(root, Bad(TRAINING, RATE, "  learning_rate: 1e-4", ""))
    assert load_project(root).training.optimiser.learning_rate == 1e-4


@pytest.mark.parametrize("linked", ["data/raw", "data"])
def test_c21_a_folder_that_leads_out_of_the_repository_is_not_read(root, capsys, tmp_path, linked: str) -> None:
    outside = tmp_path / "outside"
    (root / linked).rename(outside)
    (root / linked).symlink_to(outside)
    code, problems, _ = first_step(root, capsys)
    wanted = "E143" if linked == "data/raw" else "E220"
    assert (code, [(p["code"], p["path"]) for p in problems]) == (2, [(wanted, "data/raw")])
    assert run(convert, project=root) == 2
    assert not CONVERTED & set(tree(root))


@pytest.mark.parametrize("name", ["training_config.yml", "Training_config.yaml"])
def test_c22_a_missing_file_is_named_with_the_nearest_name(root, capsys, name: str) -> None:
    (root / TRAINING).rename(root / "configs" / name)
    code, problems, _ = first_step(root, capsys)
    assert (code, [(p["code"], p["path"], p["fix"]) for p in problems]) == (
        2,
        [("E221", TRAINING, f"did you mean {name}?")],
    )


def test_c24_an_unpinned_revision_is_a_warning_that_every_run_shows(root, capsys) -> None:
    place(root, Bad(TRAINING, ID, "  id: owner/name", ""))
    place(root, Bad(TRAINING, f"  revision: '{'0' * 40}'", "  revision: main", ""))
    assert [warning.split(": ")[2][:4] for warning in load_project(root).warnings] == ["W223"]
    assert first_step(root, capsys)[0] == 0


def test_c29_a_seed_left_out_is_fixed(root) -> None:
    assert load_project(root).training.seed == 42


ELSEWHERE = {
    # a budget needs a second opinion: main's limits, before a job is paid
    "C33": "test_github_policy:TestFork.test_a_thousand_epochs",
    # found where the checkpoints are
    "C34": "test_training:test_changed_data_refuses_an_old_checkpoint_until_restart",
}


def test_every_row_of_the_list_has_its_case() -> None:
    tested = {case.id.split()[0] for case in CASES}
    tested |= {name.split("_")[1].upper() for name in globals() if re.match(r"test_c[0-9]+_", name)}
    assert tested | set(ELSEWHERE) == {f"C{number}" for number in range(1, 35)}
    for test in ELSEWHERE.values():
        assert callable(resolve_name(test))
