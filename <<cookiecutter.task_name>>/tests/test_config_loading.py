"""Configuration files: what YAML can do wrong gets a code, a file and a line, all of it at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finetune.config.loading import merge, read_yaml
from finetune.config.project import Project, load_project
from finetune.config.strict_yaml import MAX_BYTES, MAX_DEPTH
from finetune.errors import BadInput, Problem, Problems

TASK, TRAINING, BENCHMARK = "task_definition.yaml", "configs/training_config.yaml", "configs/benchmark_config.yaml"
SMOKE = "configs/smoke_config.yaml"
Change = Callable[..., list[Problem]]


def problems_of(root: Path, smoke: bool = False) -> list[Problem]:
    try:
        load_project(root, smoke=smoke)
    except BadInput as failure:
        return failure.problems.errors
    return []


def read(text: str | bytes, folder: Path) -> tuple[Any, Problems]:
    file, problems = folder / "file.yaml", Problems()
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    located = read_yaml(file, "file.yaml", problems)
    return located and located.values, problems


@pytest.fixture
def root(make_project: Callable[..., Project]) -> Path:
    pinned = {  # the lines that the tests edit
        "lora": {"r": 4}, "optimiser": {"learning_rate": 0.001, "epochs": 2},
        "batch": {"per_device": 4, "effective": 8}, "max_length": 512,
    }  # fmt: skip
    splits, generation = {"train": 0.6, "valid": 0.2, "test": 0.2}, {"batch_size": 8, "context": 512}
    return make_project(training=pinned, benchmark={"splits": splits, "generation": generation}).paths.root


@pytest.fixture
def change(root: Path) -> Change:
    """`change(TRAINING, "  epochs: 2", "  epochs: .nan")` edits one line and returns (problems, its line number)."""

    def edit(name: str, old: str, new: str) -> Any:
        text = (root / name).read_text(encoding="utf-8")
        assert text.count(old + "\n") == 1, (old, text)
        line = text[: text.index(old + "\n")].count("\n") + 1
        (root / name).write_text(text.replace(old + "\n", new + "\n"), encoding="utf-8")
        return problems_of(root), line

    return edit


def test_the_unchanged_repository_loads(root: Path) -> None:
    assert problems_of(root) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1E5", 1e5), ("2.e-5", 2e-5), ("+.5", 0.5), ("12", 12), ("-0", 0), ("0.10", 0.1),
        ("true", True), ("FALSE", False), ("", None), ("~", None), ("null", None), ("'no'", "no"), ('"010"', "010"),
        ("'2024-01-01'", "2024-01-01"), ("'1e-4'", "1e-4"), ("v1.2.3", "v1.2.3"), ("norway", "norway"), ("=", "="),
        ("[1, a]", [1, "a"]), ('"a\\nb"', "a\nb"), ("中文", "中文"),
    ],
)  # fmt: skip
def test_c1_scalars_follow_yaml_1_2(text: str, value: object, tmp_path: Path) -> None:
    values, problems = read(f"key: {text}\n", tmp_path)
    assert problems.all == []
    assert values == {"key": value} and type(values["key"]) is type(value)


def test_c1_a_rate_without_a_dot_is_a_number(root: Path) -> None:
    file = root / TRAINING
    text = file.read_text(encoding="utf-8").replace("learning_rate: 0.001", "learning_rate: 1e-4")
    file.write_text(text, encoding="utf-8")
    assert load_project(root).training.optimiser.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no", "E201"), ("On", "E201"), ("YES", "E201"), ("off", "E201"), ("y", "E201"),
        ("010", "E202"), ("-07", "E202"), ("1:30", "E202"), ("1:30:00.5", "E202"), ("0x1F", "E202"), ("-0x1F", "E202"),
        ("0b10", "E202"), ("1_000", "E202"), ("1_0.5", "E202"), ("9" * 21, "E202"),
        (".nan", "E203"), (".NaN", "E203"), (".inf", "E203"), ("-.Inf", "E203"), ("1e400", "E203"),
        ("2024-01-01", "E210"), ("2024-01-01 10:00:00", "E210"),
        ("!!python/object/apply:os.system [echo]", "E210"), ("!!python/name:os.system", "E210"),
        ("!!binary aGk=", "E210"), ("!!set {a, b}", "E210"), ("!!omap [a: 1]", "E210"), ("!!str 5", "E210"),
        ("!!int 5", "E210"), ("!own x", "E210"), ("{nested: {deep: !!int 5}}", "E210"),
        ('"\\0"', "E214"), ('"\\x1b[31m"', "E214"), ('"\\x7f"', "E214"), ('"\\ud800"', "E214"), ('"\\r"', "E214"),
    ],
)  # fmt: skip
def test_c2_c3_c4_c13_c14_ambiguous_values_are_refused_where_they_stand(text: str, code: str, tmp_path: Path) -> None:
    _, problems = read(f"first: 1\nkey:\n  - {text}\n", tmp_path)
    assert [(p.path, p.code, p.line, p.key.split(".")[:2]) for p in problems.errors] == [
        ("file.yaml", code, 3, ["key", "0"])
    ]
    assert problems.errors[0].fix


@pytest.mark.parametrize(
    ("name", "old", "new", "code", "key"),
    [
        (TASK, "language: en", "language: no", "E201", "language"),
        (TRAINING, "  r: 4", "  r: 010", "E202", "lora.r"),
        (TRAINING, "  learning_rate: 0.001", "  learning_rate: .nan", "E203", "optimiser.learning_rate"),
        (TRAINING, "  epochs: 2", "  epochs: true", "E204", "optimiser.epochs"),
        (TRAINING, "  per_device: 4", "  per_device: 8.5", "E204", "batch.per_device"),
        (TRAINING, "  per_device: 4", '  per_device: "8"', "E204", "batch.per_device"),
        (TRAINING, "  epochs: 2", "  epochs:", "E204", "optimiser.epochs"),
        (TRAINING, "  epochs: 2", "  epochs: 2\n  epochs: 3", "E205", "optimiser.epochs"),
        (TRAINING, "  epochs: 2", "  epochs: 2\n  epochz: 3", "E206", "optimiser.epochz"),
        (TRAINING, "method: lora", "method: lora\ntrust_remote_code: true", "E206", "trust_remote_code"),
        (TASK, "task_name: small-task", "task_name: Small Task", "E204", "task_name"),
        (TASK, "task_name: small-task", "", "E215", "task_name"),
        (TASK, "  max_chars: 400", "", "E215", "input.max_chars"),
        (TASK, "  max_chars: 400", "  max_chars: 0", "E224", "input.max_chars"),
        (TASK, "task_type: classification", "task_type: clasification", "E228", "task_type"),
        (TRAINING, "  id: models/base/tiny", "  id: ../../etc/passwd", "E223", "base_model.id"),
    ],
)  # fmt: skip
def test_c2_to_c8_a_wrong_value_is_named_with_file_line_and_key(
    change: Change, name: str, old: str, new: str, code: str, key: str
) -> None:
    problems, line = change(name, old, new)
    if code in ("E205", "E206"):
        line += 1  # the added line is the wrong one
    if code == "E215":  # what is missing stands nowhere: the section's own line, if it is in one
        line = line - 2 if "." in key else None
    assert [(p.path, p.code, p.line, p.key) for p in problems] == [(name, code, line, key)]


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [
        ("optimiser:", "optimizer:", "optimiser"),
        ("  per_device: 4", "  per_devise: 4", "per_device"),
        ("  epochs: 2", "  epoch: 2", "epochs"),
        ("max_length: 512", "maxlength: 512", "max_length"),
    ],
)
def test_c8_an_unknown_key_gets_the_nearest_name(change: Change, old: str, new: str, near: str) -> None:
    problems, line = change(TRAINING, old, new)
    unknown = [p for p in problems if p.code == "E206"]
    assert [(p.path, p.line) for p in unknown] == [(TRAINING, line)]
    assert unknown[0].fix == f"did you mean {near}?"


def test_c8_an_unknown_key_in_a_list_gets_the_nearest_name(change: Change) -> None:
    problems, line = change(TASK, "  - name: billing", "  - nam: billing")
    found = [(p.code, p.line, p.key, p.fix) for p in problems]
    assert ("E206", line, "output.labels.0.nam", "did you mean name?") in found


def test_c25_trust_remote_code_is_refused_with_the_reason(change: Change) -> None:
    problems, _ = change(TRAINING, "  id: models/base/tiny", "  id: models/base/tiny\n  trust_remote_code: true")
    assert [p.code for p in problems] == ["E206"]
    assert "never run" in problems[0].message


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "E207", None), ("# only a comment\n", "E207", None), ("- a\n- b\n", "E207", None),
        ("text\n", "E207", None), ("null\n", "E207", None),
        ("a: 1\n---\nb: 2\n", "E208", 2), ("a: 1\n...\n---\n", "E208", 3),
        ("a:\n\tb: 1\n", "E209", 2), ("a: 1\nb: [1\n", "E209", 3), ("a: b: c\n", "E209", 1), ("a: @x\n", "E209", 1),
        ('a: "\\UFFFFFFFF"\n', "E209", None), ("%YAML " + "9" * 5000 + ".1\n---\na: 1\n", "E209", None),
        ("!!map\na: 1\n", "E210", 1), ("a: 1\n!!str b: 2\n", "E210", 2), ("a: 1\n? [x]\n: 2\n", "E210", 2),
        ("a: 1\n<<: {b: 1}\n", "E210", 2),
        ("a: &x 1\n", "E211", 1), ("a: 1\nb: &a [*a]\n", "E211", 2), ("a: *x\n", "E211", 1),
        ("a: 1\nb: " + "[" * 5000 + "\n", "E212", 2),
        ("a: 1\nb: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "\n", "E212", 2),
        ("a: " + "x" * MAX_BYTES, "E213", None),
        ("a: 1\nb: \0\n", "E214", 2), ("a: 1\nb: \x1b[0m\n", "E214", 2), (b"a: 1\nb: \xff\n", "E214", 2),
        ("a: 1\n".encode("utf-16"), "E214", 1), ('a: 1\n"b\\nc": 2\n', "E214", 2),
        ('a: 1\n"\\ud800": 2\n', "E214", 2),
    ],
)  # fmt: skip
def test_c9_to_c19_a_file_that_is_no_plain_mapping(text: Any, code: str, line: int | None, tmp_path: Path) -> None:
    _, problems = read(text, tmp_path)
    assert [(p.path, p.code, p.line) for p in problems.errors] == [("file.yaml", code, line)]
    assert problems.errors[0].fix


def test_c12_a_tab_is_called_a_tab(tmp_path: Path) -> None:
    _, problems = read("a:\n\tb: 1\n", tmp_path)
    assert "tab" in problems.errors[0].message and problems.errors[0].fix == "use spaces"


def test_c15_an_alias_bomb_is_refused_at_its_first_anchor(tmp_path: Path) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 10))
    _, problems = read("l0: &l0 lol\n" + levels, tmp_path)
    assert [(p.code, p.line) for p in problems.errors] == [("E211", 1)]


def test_depth_and_size_at_the_limit_are_accepted(tmp_path: Path) -> None:
    values, problems = read("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "\n", tmp_path)
    assert values and not problems.all
    values, problems = read("a: " + "x" * (MAX_BYTES - 3), tmp_path)
    assert values and not problems.all


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    values, problems = read("\ufeffa: 1\r\nb: two\r\n".encode(), tmp_path)
    assert (values, problems.all) == ({"a": 1, "b": "two"}, [])


def test_nothing_is_executed_by_a_tag(tmp_path: Path) -> None:
    read(f"a: !!python/object/apply:os.mkdir [{tmp_path / 'made'}]\n", tmp_path)
    assert not (tmp_path / "made").exists()


def test_c22_a_missing_file_is_named_with_the_nearest_name(root: Path) -> None:
    (root / TRAINING).rename(root / "configs" / "training_config.yml")
    assert [(p.path, p.code, p.fix) for p in problems_of(root)] == [
        (TRAINING, "E221", "did you mean training_config.yml?")
    ]


def test_c22_a_folder_and_a_pipe_are_no_files(root: Path) -> None:
    (root / TASK).unlink()
    (root / TASK).mkdir()
    (root / TRAINING).unlink()
    os.mkfifo(root / TRAINING)  # opening it would wait for ever
    assert [(p.path, p.code) for p in problems_of(root)] == [(TASK, "E221"), (TRAINING, "E221")]


def test_an_empty_folder_names_all_three_files(tmp_path: Path) -> None:
    assert [(p.path, p.code) for p in problems_of(tmp_path / "nowhere")] == [
        (TASK, "E221"), (TRAINING, "E221"), (BENCHMARK, "E221"),
    ]  # fmt: skip


def test_the_problems_of_all_files_come_at_once(root: Path) -> None:
    for name, old, new in (
        (TASK, "language: en", "language: no"),
        (TASK, "version: 1", "version: 1\nstatos: draft"),
        (TRAINING, "  epochs: 2", "  epochs: -1"),
        (TRAINING, "  r: 4", "  r: four"),
        (BENCHMARK, "  train: 0.6", "  train: 0.7"),
    ):
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    found = problems_of(root)
    assert sorted((p.path, p.code) for p in found) == sorted(
        [(TASK, "E201"), (TASK, "E206"), (TRAINING, "E224"), (TRAINING, "E204"), (BENCHMARK, "E224")]
    )
    assert all(p.line for p in found)


def test_a_refused_value_is_reported_once(change: Change) -> None:
    problems, _ = change(TRAINING, "version: 1", "version: 1\nseed: no")
    assert [p.code for p in problems] == ["E201"]


# Smoke overlay


def lay(root: Path, text: str) -> list[Problem]:
    (root / SMOKE).write_text(text, encoding="utf-8")
    return problems_of(root, smoke=True)


def test_the_smoke_file_is_laid_over_both_configurations_key_by_key(root: Path) -> None:
    assert lay(root, "training:\n  optimiser: {epochs: 1}\nbenchmark:\n  quantisations: [f16]\n") == []
    plain, smoke = load_project(root), load_project(root, smoke=True)
    assert (plain.training.optimiser.epochs, smoke.training.optimiser.epochs) == (2.0, 1.0)
    assert smoke.training.optimiser.learning_rate == plain.training.optimiser.learning_rate
    assert smoke.benchmark.quantisations == ("f16",)
    assert smoke.smoke and not plain.smoke


def test_a_wrong_value_of_the_smoke_file_is_located_there(root: Path) -> None:
    found = lay(root, "training:\n  optimiser:\n    epochs: -1\n  lora: {rank: 3}\n")
    assert sorted((p.path, p.code, p.line, p.key) for p in found) == [
        (SMOKE, "E206", 4, "training.lora.rank"),
        (SMOKE, "E224", 3, "training.optimiser.epochs"),
    ]


def test_a_rule_across_files_blames_the_file_the_value_came_from(root: Path) -> None:
    lines = (root / BENCHMARK).read_text(encoding="utf-8").splitlines()
    assert [(p.path, p.code, p.line, p.key) for p in lay(root, "training:\n  max_length: 1024\n")] == [
        (BENCHMARK, "E226", lines.index("  context: 512") + 1, "generation.context")
    ]
    assert [(p.path, p.code, p.line, p.key) for p in lay(root, "benchmark:\n  generation:\n    context: 256\n")] == [
        (SMOKE, "E226", 3, "benchmark.generation.context")
    ]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [("task: {language: en}\n", "E206", 1), ("training: 5\n", "E204", 1), ("benchmark:\n", "E204", 1)],
)
def test_other_sections_of_the_smoke_file_are_refused(root: Path, text: str, code: str, line: int) -> None:
    assert [(p.path, p.code, p.line) for p in lay(root, text)] == [(SMOKE, code, line)]


def test_the_smoke_file_is_read_only_for_smoke_runs(root: Path) -> None:
    (root / SMOKE).write_text("training: {no: such}\n", encoding="utf-8")
    assert problems_of(root) == []
    (root / SMOKE).unlink()
    assert [(p.path, p.code) for p in problems_of(root, smoke=True)] == [(SMOKE, "E221")]


def test_merge_goes_mapping_by_mapping_and_changes_neither_side() -> None:
    base, override = {"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}, "d": {"e": 1}}
    assert merge(base, override) == {"a": {"b": 1, "c": [3]}, "d": {"e": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1} and override == {"a": {"c": [3]}, "d": {"e": 1}}


# Anything else: a coded, located problem, never a traceback

KEYS = st.sampled_from(["version", "task_name", "output", "labels", "metrics", "hub", "data", "no", "x\ny", "::error"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_every_file_is_judged(root: Path) -> None:
    for name in (TASK, TRAINING, BENCHMARK):
        found = [p for p in problems_of(root) if p.path == name]
        assert all(p.code[0] == "E" and p.code[1:].isdigit() and "\n" not in str(p) for p in found)


@BOUNDED
@given(st.binary(max_size=60) | st.text(alphabet="ab:-[]{}&*!%@`'\"\\#|>?,~\t\n 0.e1\ufeff\x85\u2028", max_size=40))
@example('"\\U00110000"')
@example("%YAML 1.1\n---\n")
@example("? \n: 1")
@example("a: !<tag:x> 1")
def test_no_bytes_make_a_traceback(root: Path, content: bytes | str) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    for name in (TASK, TRAINING, BENCHMARK):
        (root / name).write_bytes(data)
    assert {p.path for p in problems_of(root)} == {TASK, TRAINING, BENCHMARK}
    assert_every_file_is_judged(root)


@BOUNDED
@given(st.sampled_from([TASK, TRAINING, BENCHMARK]), st.data())
def test_no_value_at_any_key_makes_a_traceback(make_project: Callable[..., Project], name: str, data: Any) -> None:
    root = make_project().paths.root
    values = yaml.safe_load((root / name).read_text(encoding="utf-8"))
    parent = values
    while True:
        key = data.draw(st.sampled_from(sorted(parent)))
        if not isinstance(parent[key], dict) or data.draw(st.booleans()):
            break
        parent = parent[key]
    parent[key] = data.draw(VALUES)
    text = yaml.safe_dump(values, allow_unicode=True)
    (root / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert_every_file_is_judged(root)
