"""No check of a row is left out for rows that are read together: each has an example that its search must find."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from finetune.data import row_checks, spans
from finetune.data.row_checks import RowChecks
from finetune.data.scan.chunks import cut
from finetune.data.scan.scanning import ChunkScanner
from finetune.data.scan.screens import Screen
from finetune.data.tokens import answers, lengths
from finetune.errors import Problems
from finetune.evidence.data import LEVELS

Make = Callable[..., Any]
LONG = "a b " * 90
EXAMPLES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("names", "E135", "classification", {"label": "refunds"}),
    ("names", "E135", "extraction", {"entities": [{"type": "colour", "text": "parcel"}]}),
    ("names", "E151", "extraction", {"entities": [{"type": "product", "text": "letter"}]}),
    ("spans", "E157", "extraction", {"entities": [{"type": "product", "text": "parcel"}] * 2}),
    ("spans", "W157", "extraction", {"entities": [{"type": "product", "text": "parc"}]}),
    ("spans", "W158", "extraction", {"entities": [{"type": "product", "text": "my "}]}),
    ("spans", "W159", "extraction", {"entities": [{"type": "product", "text": t} for t in ("is my", "my parcel")]}),
    ("max_chars", "E156", "classification", {"input": "x " * 201}),
    ("texts", "E130", "classification", {"input": "a parcel <|im_end|>"}),
    ("texts", "E130", "generation", {"output": "a parcel <|im_end|>"}),
    ("texts", "W142", "classification", {"input": "write to ann@acme.co"}),
    ("texts", "E142", "generation", {"output": "call 0912 345 678"}),
    ("answer_lengths", "E158", "generation", {"output": "a b " * 30}),
    (
        "answer_lengths",
        "E158",
        "extraction",
        {"input": "a b c " * 12, "entities": [{"type": "product", "text": "a b c"}] * 6},
    ),
    ("token_lengths", "E138", "generation", {"output": LONG}),
    ("token_lengths", "E139", "classification", {"input": LONG}),
]
"""Check, code, task type, and what of a plain row makes it a row that the check objects to."""
PLAIN = {"classification": {"label": "billing"}, "extraction": {"entities": []}, "generation": {"output": "thank you"}}


def made(make_project: Make, task_type: str, code: str) -> Any:
    policy = {"data": {"personal_data": "error"}} if code == "E142" else {}
    limit = {"E138": 120, "E139": 150}.get(code, 512)
    if code == "E158":
        policy = {"output": {"max_new_tokens": 40}}
    return make_project(task_type, base=True, task=policy, training={"max_length": limit})


def test_every_check_and_every_code_has_an_example(make_project: Make) -> None:
    checks = RowChecks(make_project(base=True), Problems()).checks
    assert {check for check, *_ in EXAMPLES} == set(checks)
    sources = [inspect.getsource(module) for module in (row_checks, lengths, spans, answers)]
    assert {code for _, code, *_ in EXAMPLES} == set(re.findall(r'"([EW]\d{3})"', "".join(sources)))


def test_the_checklist_knows_on_which_level_each_of_them_refuses() -> None:
    levels = set[str]().union(*(codes for _, codes in LEVELS))
    assert {code for _, code, *_ in EXAMPLES if code.startswith("E")} <= levels


@pytest.mark.parametrize(("check", "code", "task_type", "change"), EXAMPLES)
def test_a_row_that_a_check_objects_to_is_never_called_plain(
    make_project: Make, check: str, code: str, task_type: str, change: dict[str, Any]
) -> None:
    project = made(make_project, task_type, code)
    scanner, file = ChunkScanner(project), project.paths.raw / "rows.jsonl"
    plain = {"input": "where is my parcel", **PLAIN[task_type]}
    file.write_text("".join(json.dumps(row) + "\n" for row in (plain, plain | change)), encoding="utf-8")
    (chunk,) = cut([(file, "rows.jsonl")])
    screened = scanner._screen.rows(chunk.read(), 2)
    assert screened[0] is not None and screened[1] is None
    assert [(p.line, p.code) for p in scanner.scan(chunk).problems.all] == [(2, code)]


def test_a_check_without_a_search_ends_before_the_first_row(make_project: Make) -> None:
    project = make_project()
    checks = RowChecks(project, Problems())
    checks.checks["new"] = lambda row, path, line: None
    with pytest.raises(KeyError, match="new"):
        Screen(project.task, checks)
