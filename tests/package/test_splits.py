"""A row's split is its own: new rows and another order never move it, and nothing that belongs together is parted."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from finetune.config.benchmark import Splits
from finetune.data.overlap import check_overlap
from finetune.data.records import Record
from finetune.data.splits import SPLITS, assign, split_key
from finetune.data.text_rules import input_key
from finetune.errors import Problems

SHARES = Splits(train=0.6, valid=0.2, test=0.2, salt="s")
ROWS = st.lists(st.tuples(st.text(min_size=1, max_size=20), st.none() | st.sampled_from("abcdef")), max_size=40)


def record(text: str, group: str | None) -> Record:
    return Record("id", text, "label", group, "rows.jsonl", 1, input_key(text), None)


def drawn(rows: list[tuple[str, str | None]]) -> dict[tuple[str, str | None], str]:
    return {row: assign(split_key(record(*row)), SHARES) for row in rows}


@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_adding_and_reordering_rows_never_moves_an_old_one(old, new, random):
    before = drawn(old)
    mixed = old + new
    random.shuffle(mixed)
    after = drawn(mixed)
    assert all(after[row] == split for row, split in before.items())


@given(ROWS)
def test_no_group_straddles_two_splits(rows):
    splits = drawn(rows)
    for name in {group for _, group in rows if group}:
        assert len({split for (_, group), split in splits.items() if group == name}) == 1


@given(st.text(alphabet="abc ABC é中", min_size=1))
def test_rows_that_differ_in_case_and_white_space_share_a_split(text):
    variants = [record(variant, None) for variant in (text, text.upper(), f"\t{text.lower()}  ")]
    assert len({assign(split_key(variant), SHARES) for variant in variants}) == 1


def test_the_assignment_is_the_published_one():
    """Changing these moves rows of every repository between splits: a new major version, and said in the changelog."""
    drawn_now = [assign(split_key(record(f"text {n}", None)), SHARES) for n in range(8)]
    drawn_groups = [assign(split_key(record("text", f"group {n}")), SHARES) for n in range(8)]
    assert " ".join(drawn_now) == "train train valid valid train test train test"
    assert " ".join(drawn_groups) == "train train train train train train train train"


def test_large_data_meets_the_shares_and_another_salt_draws_others():
    rows = [(f"text {n}", None) for n in range(4000)]
    splits = drawn(rows)
    for split in SPLITS:
        share = sum(value == split for value in splits.values()) / len(rows)
        assert abs(share - getattr(SHARES, split)) < 0.03
    other = SHARES.model_copy(update={"salt": "t"})
    assert any(assign(split_key(record(*row)), other) != split for row, split in splits.items())


def test_a_larger_validation_share_leaves_the_test_set_as_it_is():
    wider = Splits(train=0.4, valid=0.4, test=0.2, salt="s")
    keys = [split_key(record(f"text {n}", None)) for n in range(500)]
    assert [assign(k, SHARES) == "test" for k in keys] == [assign(k, wider) == "test" for k in keys]


def write(path, *rows):
    lines = [json.dumps({"id": i, "messages": [{"role": "user", "content": text}]}) + "\n" for i, text in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_the_written_files_are_searched_for_common_inputs_and_groups(tmp_path):
    files = {
        "train": write(tmp_path / "train.jsonl", ("a", "one"), ("b", "two"), ("b#2", "two")),
        "valid": write(tmp_path / "valid.jsonl", ("c", " ONE "), ("d", "three")),
        "test": write(tmp_path / "test.jsonl", ("e", "four")),
    }
    problems = Problems()
    check_overlap(files, {"b": "g", "e": "g", "d": "h"}, problems)
    found = [(p.path, p.code, p.line, p.message.split()[1]) for p in problems.all]
    assert found == [
        ("train.jsonl", "E133", 1, "input"),
        ("train.jsonl", "E133", 2, "group"),
        ("train.jsonl", "E133", 3, "group"),
    ]


def test_separate_files_pass_the_search(tmp_path):
    files = {split: write(tmp_path / f"{split}.jsonl", (split, split)) for split in SPLITS}
    problems = Problems()
    check_overlap(files, {}, problems)
    assert problems.all == []
