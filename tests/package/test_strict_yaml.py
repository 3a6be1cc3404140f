"""Our YAML: values as YAML 1.2 reads them, and a code and a line for every file that is no plain mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.config.strict_yaml import MAX_BYTES, MAX_DEPTH, read_yaml
from finetune.errors import Problems


def read(text: str | bytes, folder: Path) -> tuple[Any, Problems]:
    file, problems = folder / "file.yaml", Problems()
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    located = read_yaml(file, "file.yaml", problems)
    return located and located.values, problems


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
