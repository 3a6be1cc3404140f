"""Located problems and exceptions: one line each, errors first, exact totals."""

from __future__ import annotations

import json

import pytest

from finetune import errors
from finetune.errors import (
    BadInput,
    FinetuneError,
    GateFailed,
    Interrupted,
    ModelFault,
    Problem,
    Problems,
    StorageFault,
)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("a.jsonl", "E101", "file is empty"), "a.jsonl: E101 file is empty"),
        (Problem("a.jsonl", "E110", "not JSON.", "quote it", 3), "a.jsonl:3: E110 not JSON. Fix: quote it"),
        (Problem("a.yaml", "E204", "wrong", key="x.y"), "a.yaml: x.y: E204 wrong"),
        (Problem("a.yaml", "W204", "odd", "look", 7, "x"), "a.yaml:7: x: W204 odd. Fix: look"),
        (Problem("a\nb", "E1", "x\r\ny", "c\nd"), "a\\nb: E1 x\\r\\ny. Fix: c\\nd"),
    ],
)
def test_a_problem_is_one_line(problem: Problem, line: str) -> None:
    assert str(problem) == line
    assert problem.is_warning == (problem.code[0] == "W")


def test_fifty_are_shown_and_all_are_counted() -> None:
    problems = Problems(keep=60)
    for number in range(70):
        problems.add("a", "E1", f"error {number}")
    for number in range(5):
        problems.add("a", "W1", f"warning {number}")
    lines = problems.render().splitlines()
    assert lines[:50] == [f"a: E1 error {number}" for number in range(50)]
    assert lines[50:] == ["… and 25 more", "70 errors, 5 warnings"]
    assert (len(problems.errors), problems.error_count, problems.warning_count) == (60, 70, 5)


def test_errors_come_first_and_exactly_fifty_need_no_remainder() -> None:
    problems = Problems()
    problems.add("a", "W1", "odd")
    for _ in range(49):
        problems.add("a", "E1", "wrong")
    lines = problems.render().splitlines()
    assert lines[49:] == ["a: W1 odd", "49 errors, 1 warning"]


def test_nothing_found_renders_nothing() -> None:
    assert Problems().render() == ""


def test_warnings_alone_do_not_stop_a_step() -> None:
    problems = Problems()
    problems.add("a", "W1", "odd")
    problems.raise_if_errors()
    problems.add("a", "E1", "wrong")
    with pytest.raises(BadInput) as failure:
        problems.raise_if_errors()
    assert failure.value.problems is problems
    assert str(failure.value).splitlines()[-1] == "1 error, 1 warning"


def test_json_keeps_every_field_and_the_totals() -> None:
    problems = Problems(keep=1)
    problems.add("a", "E1", "wrong", "mend", line=2, key="x")
    problems.add("a", "E1", "wrong")
    problems.add("a", "W1", "odd")
    report = json.loads(json.dumps(problems.to_json()))
    assert (report["errors"], report["warnings"]) == (2, 1)
    assert report["problems"] == [
        {"path": "a", "code": "E1", "message": "wrong", "fix": "mend", "line": 2, "key": "x"},
        {"path": "a", "code": "W1", "message": "odd", "fix": "", "line": None, "key": None},
    ]


def test_an_exception_reads_as_code_sentence_and_fix() -> None:
    assert str(FinetuneError("no adapter.", "run scripts/03_train.py first", "E401")) == (
        "E401 no adapter. Fix: run scripts/03_train.py first"
    )
    assert str(ModelFault("loss is NaN")) == "E999 loss is NaN"


def test_exit_codes_are_the_documented_ones() -> None:
    kinds = (FinetuneError, BadInput, ModelFault, StorageFault, Interrupted, GateFailed)
    assert [kind.exit_code for kind in kinds] == [2, 2, 70, 74, 75, 76]
    assert errors.OK == 0
