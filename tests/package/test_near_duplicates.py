"""Near-duplicates: what counts as one, that they are found across splits, and that none of them is trained on."""

from __future__ import annotations

import json
import random
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import raw_rows
from finetune.data import stage
from finetune.data.account import FEWEST
from finetune.data.checks import Checks
from finetune.data.scan.near_duplicates import THRESHOLD, pair_set, similarity
from finetune.data.scan.survey import survey
from finetune.errors import BAD_INPUT, OK, Problems

ENGLISH = "i ordered a blue lamp last week and the parcel still has not arrived at my door"
CHINESE = "我上週訂了一盞藍色的檯燈可是包裹到現在都還沒有送到我家門口請幫我查一下"
SPLITS = ("train", "valid", "test")


def score(one: str, other: str) -> float:
    return similarity(pair_set(one), pair_set(other))


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "ok", "好", "?!", "👍🏽 👍🏽"])
def test_case_spacing_punctuation_and_width_make_no_difference(text):
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    spaced = text.replace(" ", "   ")
    assert score(text, text) == score(text, text.upper()) == score(text, wide) == score(text, spaced) == 1.0
    if any(c.isalnum() for c in text):
        assert score(text, f"«{text}», …!") == 1.0


@given(st.integers(9, 60), st.randoms(use_true_random=False))
def test_one_word_in_ten_may_differ_and_a_third_may_not_be_missing(count, draw):
    words = [f"w{number}" for number in range(count)]

    def changed(number: int) -> str:
        places = draw.sample(range(count), number)
        return " ".join("other" if place in places else word for place, word in enumerate(words))

    assert score(" ".join(words), changed(max(1, count // 10))) >= THRESHOLD
    assert score(" ".join(words), " ".join(words[: -count // 3])) < THRESHOLD


def test_texts_of_one_topic_are_no_near_duplicates():
    assert score("where is my parcel from monday", "where is the refund for my order") < 0.3
    assert score("請問我的包裹在哪裡", "請問我的退款什麼時候會到") < 0.4


def make(make_project, rows, **data):
    return make_project(rows=rows, task={"data": {"min_rows_per_class": 1, "max_imbalance": 100.0, **data}})


def judged(project) -> tuple[Checks, Problems]:
    problems = Problems()
    checks = Checks(survey(project, [(project.paths.raw / "rows.jsonl", "rows.jsonl")], problems))
    checks.run()
    return checks, problems


def variants(text: str, count: int) -> list[str]:
    """The text with one word changed each time."""
    words = text.split()
    return [" ".join([*words[:5], f"word{number}", *words[6:]]) for number in range(count)]


def test_rows_like_one_in_a_later_split_are_left_out_and_said_in_one_line(make_project):
    rows = raw_rows("classification", 180) + [{"input": text, "label": "shipping"} for text in variants(ENGLISH, 40)]
    project = make(make_project, rows)
    checks, problems = judged(project)
    loss, first = problems.all
    assert (loss.code, loss.line) == ("W190", None) and loss.message.startswith(f"{len(checks.left_out)} of ")
    assert first.code == "W134" and first.line and f"and {len(checks.left_out) - 1} more" in first.message
    assert "rows.jsonl:" in first.message and "(0." in first.message
    assert stage.validate(project) == OK
    assert stage.convert(project) == OK
    written = {split: getattr(project.paths, split).read_text(encoding="utf-8") for split in SPLITS}
    where = [split for split in SPLITS if "blue lamp" in written[split]]
    assert where == ["test"]
    report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
    assert report["rows"]["left_out"] == len(checks.left_out) == report["duplicates"]["near"]["rows"] >= FEWEST
    assert {split: report["rows"][split] for split in SPLITS} == {
        split: text.count("\n") for split, text in written.items()
    }
    shipping = report["classes"]["shipping"]
    assert shipping["rows"] == 100 == sum(number for key, number in shipping.items() if key != "rows")
    assert sum(shipping[split] for split in SPLITS) == 60 + written["test"].count("blue lamp")


def test_by_policy_it_is_an_error_with_its_score(make_project):
    rows = raw_rows("classification") + [{"input": text, "label": "shipping"} for text in variants(ENGLISH, 40)]
    project = make(make_project, rows, near_duplicates="error")
    assert stage.validate(project) == BAD_INPUT
    _, problems = judged(project)
    assert {p.code for p in problems.all} == {"E134"}
    assert all(p.line and p.line > 60 and "lies in" in p.message and "(0." in p.message for p in problems.all)


def test_another_answer_is_said_and_what_needs_nothing_to_be_done_stands_last(make_project):
    rows = [{"input": text, "label": "shipping"} for text in variants(ENGLISH, 40)]
    wrong = {"input": " ".join(reversed(ENGLISH.split())), "label": "billing"}
    other = [{**row, "label": "billing"} for row in rows[::7]]
    project = make(make_project, [*raw_rows("classification"), *rows[:3], *other[1:], wrong, wrong])
    problems = judged(project)[1]
    problems.sort(["rows.jsonl"])
    codes = [p.code for p in problems.warnings]
    assert codes == sorted(codes, key=lambda code: code == "W134") and {"W131", "W134"} <= set(codes)
    assert [(p.line, p.fix[:19]) for p in problems.all if p.code == "W191"] == [(None, "decide which answer")]


def test_a_few_such_rows_are_named_each(make_project):
    rows = raw_rows("classification") + [{"input": text, "label": "shipping"} for text in variants(ENGLISH, 5)[2:]]
    checks, problems = judged(make(make_project, rows))
    assert {p.code for p in problems.all} == {"W134"} and len(problems.all) == len(checks.left_out) > 0
    assert all(p.line and p.line > 60 and "rows.jsonl:" in p.message and "(0." in p.message for p in problems.all)


def forms(count: int) -> list[dict[str, str]]:
    """A form filled in by people of three labels; most of its words are always the same."""
    form = "request form number {0} department sales reason for contact please see below the customer writes {1} thank "
    form += "you for your patience we will answer within two working days"
    labels = ("billing", "shipping", "account")
    return [{"input": form.format(n, f"w{n * 7}"), "label": labels[n % 3]} for n in range(count)]


def test_forms_are_refused_by_their_cause_alone_and_the_fix_works(make_project):
    """Nothing is said of too few rows or of another salt: the cause is one."""
    project = make(make_project, forms(200), min_rows_per_class=20)
    assert stage.validate(project) == BAD_INPUT
    problems = judged(project)[1]
    assert [p.code for p in problems.errors] == ["E190"] and "salt" not in problems.render()
    assert "near_duplicates: ignore" in problems.errors[0].fix
    project = make(make_project, forms(200), min_rows_per_class=20, near_duplicates="ignore")
    assert stage.validate(project) == OK and stage.convert(project) == OK


def test_a_class_of_forms_is_refused_by_its_name(make_project):
    texts = [{**row, "label": "account"} for row in forms(60)]
    others = [row for row in raw_rows("classification", 300) if row["label"] != "account"]
    problems = judged(make(make_project, [*others, *texts], min_rows_per_class=20))[1]
    assert [p.code for p in problems.errors] == ["E190"] and 'of class "account"' in problems.errors[0].message


def test_a_class_left_without_rows_in_a_split_says_why(make_project):
    texts = [{**row, "label": "account"} for row in forms(33)[24:]]
    others = [row for row in raw_rows("classification", 300) if row["label"] != "account"]
    checks, problems = judged(make(make_project, [*others, *texts]))
    assert checks.counts("account").rows == 9 and checks.counts("account").left_out
    gone = [p for p in problems.errors if p.code == "E136"]
    assert gone and all("left out as near-duplicates" in p.message and "salt" not in p.fix for p in gone)


def test_by_policy_nothing_is_looked_for_and_the_report_says_so(make_project):
    rows = raw_rows("classification") + [{"input": text, "label": "shipping"} for text in variants(ENGLISH, 40)]
    project = make(make_project, rows, near_duplicates="ignore")
    assert stage.validate(project) == OK
    report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
    assert report["duplicates"]["near"] == {"status": "skipped", "reason": "data.near_duplicates is ignore"}
    assert report["rows"]["left_out"] == 0


WORDS = ["lamp", "parcel", "late", "blue", "refund", "please", "order", "包", "裹", "款"]
BASE = [" ".join(f"{word}{number}" for word in WORDS[:7] for _ in "ab") for number in range(3)]


@st.composite
def families(draw) -> list[dict]:
    """Rows of a few texts and copies that differ from them in a word, an ending, case or a sign."""
    rows = []
    for _ in range(draw(st.integers(1, 25))):
        words = draw(st.sampled_from(BASE)).split()
        if draw(st.booleans()):
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(WORDS))
        text = draw(st.sampled_from(["{}", "{}!", "({})", "  {}"])).format(" ".join(words))
        row = {"input": text.upper() if draw(st.booleans()) else text, "label": "billing"}
        if draw(st.integers(0, 5)) == 0:
            row["group"] = draw(st.sampled_from("gh"))
        rows.append(row)
    return rows


def split_of_texts(project, rows) -> dict[str, str | None]:
    """Where each normalised input goes; None where it is left out."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (project.paths.raw / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    checks, _ = judged(project)
    out = {near.row for near in checks.left_out}
    return {
        (" ".join(unicodedata.normalize("NFKC", row["input"]).casefold().split()), row.get("group")): (
            None if number in out else checks.split_of(number)
        )
        for number, row in enumerate(rows)
    }


@pytest.fixture
def project(make_project):
    return make(make_project, raw_rows("classification"))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(families(), st.lists(st.sampled_from(["billing", "shipping", "account"]), min_size=25, max_size=25))
def test_every_account_adds_up(project, rows, labels):
    rows = [{**row, "label": label} for row, label in zip(rows, labels, strict=False)]
    split_of_texts(project, rows)
    checks, _ = judged(project)
    for name in (None, *checks.class_names):
        counts = checks.counts(name)
        assert counts.rows == counts.train + counts.valid + counts.test + counts.left_out
        assert counts.rows == sum(name in (None, row["label"]) for row in rows)
    assert checks.counts().left_out == len(checks.left_out)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(families())
def test_no_near_duplicate_lies_in_two_splits(project, rows):
    kept = [(text, split) for (text, _), split in split_of_texts(project, rows).items() if split]
    for number, (text, split) in enumerate(kept):
        for other, there in kept[:number]:
            if text != other and split != there:
                assert score(text, other) < THRESHOLD, (text, other)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(families(), families(), st.randoms(use_true_random=False))
def test_new_rows_and_another_order_move_no_row_to_another_split(project, old, new, draw):
    """What may happen to an old row of training or validation is that a new one of a later split leaves it out."""
    before = split_of_texts(project, old)
    mixed = old + new
    draw.shuffle(mixed)
    after = split_of_texts(project, mixed)
    for row, split in before.items():
        assert after[row] == split or (after[row] is None and split != "test"), row
    again = mixed[:]
    random.Random(1).shuffle(again)
    assert split_of_texts(project, again) == after
