"""Rows against the task: labels, entities, lengths, duplicates, classes and balance."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import raw_rows
from finetune.data.checks import Checks
from finetune.data.scan.survey import survey
from finetune.data.splits import assign
from finetune.data.text_rules import input_key
from finetune.errors import Problems


def check(project) -> tuple[Checks, Problems]:
    """The checks of a project's one raw file, finished."""
    problems = Problems()
    checks = Checks(survey(project, [(project.paths.raw / "rows.jsonl", "rows.jsonl")], problems))
    checks.run()
    problems.sort(["rows.jsonl"])
    return checks, problems


def places(problems: Problems) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in problems.all]


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_good_rows_have_no_problem_and_are_counted_per_split(make_project, task_type):
    checks, problems = check(make_project(task_type))
    assert problems.all == []
    assert sum(checks.rows.values()) == 60
    if task_type == "classification":
        assert checks.totals() == {"billing": 20, "shipping": 20, "account": 20}


@pytest.mark.parametrize(("label", "near"), [("Billing", "billing"), ("shiping", "shipping"), (" account", "account")])
def test_an_unknown_label_is_answered_with_the_nearest_one(make_project, label, near):
    _, problems = check(make_project(rows=[*raw_rows("classification"), {"input": "new", "label": label}]))
    assert places(problems) == [("E135", 61)]
    assert problems.errors[0].fix == f'did you mean "{near}"?'


def test_a_label_unlike_any_other_is_answered_with_the_list(make_project):
    _, problems = check(make_project(rows=[*raw_rows("classification"), {"input": "new", "label": "xyzzy"}]))
    assert problems.errors[0].fix == "one of billing, shipping, account"


@pytest.mark.parametrize(
    ("entity", "code"),
    [({"type": "prodct", "text": "lamp"}, "E135"), ({"type": "product", "text": "Lamp"}, "E151")],
)
def test_entities_are_of_known_types_and_verbatim_in_the_input(make_project, entity, code):
    rows = [*raw_rows("extraction"), {"input": "send the lamp", "entities": [entity]}]
    _, problems = check(make_project("extraction", rows=rows))
    assert places(problems) == [(code, 61)]


def test_a_row_without_entities_is_a_good_row(make_project):
    _, problems = check(make_project("extraction", rows=[*raw_rows("extraction"), {"input": "hello", "entities": []}]))
    assert problems.all == []


@pytest.mark.parametrize(("policy", "code"), [("warn", "W131"), ("error", "E131")])
def test_an_exact_duplicate_after_normalisation_follows_the_policy(make_project, policy, code):
    rows = raw_rows("classification")
    copy = {"input": "  " + rows[4]["input"].upper(), "label": rows[4]["label"]}
    checks, problems = check(make_project(rows=[*rows, copy], task={"data": {"duplicates": policy}}))
    assert places(problems) == [(code, 61)]
    assert "rows.jsonl:5" in problems.all[0].message
    assert (checks.exact_duplicates, checks.conflicts) == (1, 0)


def test_the_same_input_with_another_label_is_an_error_that_names_both_lines(make_project):
    rows = raw_rows("classification")
    checks, problems = check(make_project(rows=[*rows, {"input": rows[4]["input"], "label": "billing"}]))
    assert places(problems) == [("E132", 61)]
    assert "rows.jsonl:5" in problems.errors[0].message and "as written" not in problems.errors[0].message
    assert checks.conflicts == 1


def test_texts_that_are_the_same_only_after_normalisation_are_told_apart(make_project):
    rows = [
        *raw_rows("classification"),
        {"input": "room １02", "label": "billing"},
        {"input": "room 102", "label": "shipping"},
    ]
    _, problems = check(make_project(rows=rows))
    assert places(problems) == [("E132", 62)]
    assert "as written it has U+0031 where the other has U+FF11, at character 6" in problems.errors[0].message
    other = [
        *raw_rows("classification"),
        {"input": "room 10²", "label": "billing"},
        {"input": "room 102", "label": "shipping"},
    ]
    assert check(make_project(rows=other))[1].errors == []


def test_entities_in_another_order_are_a_duplicate_not_a_conflict(make_project):
    rows = raw_rows("extraction")
    copy: dict[str, Any] = {"input": rows[0]["input"], "entities": rows[0]["entities"][::-1]}
    _, problems = check(make_project("extraction", rows=[*rows, copy]))
    assert places(problems) == [("W131", 61)]


@pytest.mark.parametrize("first", [{}, {"group": "first"}])
def test_the_same_input_in_groups_of_different_splits_is_leakage(make_project, first):
    rows = [*raw_rows("classification"), {"input": "one", "label": "billing"} | first]
    found = set()
    for number in range(12):  # some of twelve groups lie in another split than the first row, some do not
        row = {"input": "one", "label": "billing", "group": f"g{number}"}
        _, problems = check(make_project(rows=[*rows, row]))
        found.add(tuple(sorted(places(problems))))
    assert found == {(("W131", 62),), (("E133", 62), ("W131", 62))}


def test_an_input_longer_than_the_limit_is_an_error_with_both_numbers(make_project):
    _, problems = check(make_project(rows=[*raw_rows("classification"), {"input": "x" * 401, "label": "billing"}]))
    assert places(problems) == [("E156", 61)]
    assert "401" in problems.errors[0].message
    assert "400" in problems.errors[0].message


def test_a_class_without_rows_and_a_class_with_too_few_are_errors(make_project):
    rows = [row for row in raw_rows("classification") if row["label"] == "billing"]
    rows += [{"input": f"few {n}", "label": "account"} for n in range(4)]
    _, problems = check(make_project(rows=rows, task={"data": {"max_imbalance": 10.0}}))
    assert {(p.code, p.message.split()[1]) for p in problems.errors} == {("E136", '"shipping"'), ("E137", '"account"')}


def test_a_class_missing_from_a_split_is_an_error_and_the_suggested_salt_repairs_it(make_project):
    rows = raw_rows("classification", 30)
    data = {"data": {"min_rows_per_class": 5}}
    for salt in map(str, range(1000, 1100)):
        splits = {"train": 0.8, "valid": 0.1, "test": 0.1, "salt": salt}
        _, problems = check(make_project(rows=rows, task=data, benchmark={"splits": splits}))
        if problems.error_count:
            break
    assert {p.code for p in problems.all} == {"E136"}
    splits["salt"] = problems.errors[0].fix.split('splits.salt: "')[1].split('"')[0]
    assert check(make_project(rows=rows, task=data, benchmark={"splits": splits}))[1].all == []


@pytest.mark.parametrize(("policy", "code"), [("warn", "W149"), ("error", "E149")])
def test_imbalance_above_the_limit_follows_the_policy(make_project, policy, code):
    rows = raw_rows("classification") + [{"input": f"more {n}", "label": "billing"} for n in range(41)]
    _, problems = check(make_project(rows=rows, task={"data": {"imbalance_policy": policy}}))
    assert [p.code for p in problems.all] == [code]
    assert "3.05 times" in problems.all[0].message


def test_imbalance_at_the_limit_is_no_problem(make_project):
    rows = raw_rows("classification") + [{"input": f"more {n}", "label": "billing"} for n in range(40)]
    assert check(make_project(rows=rows))[1].all == []


def test_a_class_that_chance_did_not_spread_is_named_with_its_share_and_groups_excuse_it(make_project):
    project = make_project()
    drawn: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for number in range(1000):
        text = f"bill {number} of account {number * 7} is wrong"
        drawn[assign(b"input\0" + input_key(text), project.benchmark.splits)].append(text)
    texts = [*drawn["train"][:58], *drawn["valid"][:1], *drawn["test"][:1]]
    even = [row for row in raw_rows("classification", 150) if row["label"] != "billing"]
    rows = [*({"input": text, "label": "billing"} for text in texts), *even]
    checks, problems = check(make_project(rows=rows))
    assert {p.code for p in problems.all} == {"W136"}
    assert any('"billing" has 96.7% of its rows in train, splits.train is 0.6' in p.message for p in problems.all)
    assert all("set splits.salt" in p.fix for p in problems.all)
    assert {name for name, *_ in checks.uneven()} == {"billing"}
    grouped = [row | {"group": row["input"]} if row["input"] == texts[0] else row for row in rows]
    assert "W136" not in {p.code for p in check(make_project(rows=grouped))[1].all}
