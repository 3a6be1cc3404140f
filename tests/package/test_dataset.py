"""Training rows: prompt and answer as at inference, the answer whole and ended, each row with its class's weight."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import raw_rows
from finetune.config.project import Project
from finetune.data.chat_format import system_text
from finetune.data.stage import convert
from finetune.errors import BadInput, FinetuneError
from finetune.provenance import read_manifest
from finetune.training.base_model import load_tokenizer, resolve_base
from finetune.training.batches import Collator
from finetune.training.dataset import EncodedRow, check_stop_token, load_rows, shared_prefix_length

Make = Callable[..., Project]


def encoded(project: Project, **options: Any) -> tuple[list[EncodedRow], Any]:
    """Rows of the training split, and the tokenizer that made them."""
    tokenizer = load_tokenizer(resolve_base(project))
    return load_rows(project.paths.train, project, tokenizer, **options), tokenizer


def records(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in project.paths.train.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def project(make_project: Make) -> Project:
    made = make_project(base=True)
    assert convert(made) == 0
    return made


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_the_labels_are_the_answer_and_the_last_one_is_eos(make_project: Make, task_type: str) -> None:
    project = make_project(task_type, base=True)
    convert(project)
    rows, tokenizer = encoded(project)
    for row, record in zip(rows, records(project), strict=True):
        *prompt, answer = record["messages"]
        labels = Collator("padded", 0)([row])["labels"].tolist()
        assert labels[-1] == tokenizer.eos_token_id and tokenizer.eos_token_id not in labels[:-1]
        assert tokenizer.decode(labels[:-1]) == answer["content"]
        assert tokenizer.decode(row.ids[: row.prompt_length]) == tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, tokenize=False
        )
        assert row.id == record["id"]
    check_stop_token(rows, {tokenizer.eos_token_id}, "train.jsonl")


def test_every_row_longer_than_max_length_is_refused_with_its_line(project: Project) -> None:
    rows = records(project)
    rows[2]["messages"][2]["content"] = rows[6]["messages"][1]["content"] = "invoice " * 600
    project.paths.train.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(BadInput) as failure:
        encoded(project)
    found = failure.value.problems.errors
    assert [(p.path, p.code, p.line) for p in found] == [
        ("data/chat_format/train.jsonl", "E138", 3),
        ("data/chat_format/train.jsonl", "E139", 7),
    ]
    assert "max_length is 512" in found[0].message


def test_a_row_of_exactly_max_length_is_accepted(make_project: Make, project: Project) -> None:
    rows, _ = encoded(project)
    longest = max(len(row.ids) for row in rows)
    exact = make_project(training={"max_length": longest})
    assert encoded(exact)[0] == rows
    with pytest.raises(BadInput, match="E138"):
        encoded(make_project(training={"max_length": longest - 1}))


def test_class_weights_reach_their_rows(make_project: Make) -> None:
    rows = [row for index, row in enumerate(raw_rows("classification", 120)) if row["label"] != "account" or index < 60]
    project = make_project(base=True, rows=rows, task={"data": {"balance": "weights"}})
    convert(project)
    manifest = read_manifest(project.paths.data_manifest)
    assert manifest
    weights = manifest.facts["balance"]["class_weights"]
    weighted, _ = encoded(project, weights=weights)
    answers = [record["messages"][-1]["content"] for record in records(project)]
    assert [row.weight for row in weighted] == [weights[answer] for answer in answers]
    (commonest, _), *_, (rarest, _) = Counter(answers).most_common()
    assert weights[rarest] > 1 > weights[commonest]
    assert sum(row.weight for row in weighted) == pytest.approx(len(weighted), rel=1e-4)
    assert {row.weight for row in encoded(project)[0]} == {1.0}


def test_missing_and_empty_splits_name_the_step_that_makes_them(project: Project) -> None:
    project.paths.train.write_text("", encoding="utf-8")
    with pytest.raises(FinetuneError, match=r"E414.*holds no rows.*02_convert_format"):
        encoded(project)
    project.paths.train.unlink()
    with pytest.raises(FinetuneError, match=r"E414 no data/chat_format/train\.jsonl.*02_convert_format"):
        encoded(project)


# Stop tokens


@pytest.mark.parametrize("ids", [(1, 2, 3, 4), (1, 2), (1, 2, 9, 3)])
def test_a_row_that_does_not_end_in_a_stop_token_is_refused(ids: tuple[int, ...]) -> None:
    good = EncodedRow("good", (1, 2, 5, 9), 2)
    with pytest.raises(FinetuneError, match=r"E253 row bad of train\.jsonl does not end in a stop token"):
        check_stop_token([good, EncodedRow("bad", ids, 2)], {9}, "train.jsonl")


def test_a_stop_token_of_the_prompt_is_no_end_of_the_answer() -> None:
    with pytest.raises(FinetuneError, match="E253"):
        check_stop_token([EncodedRow("empty", (1, 9), 2)], {9}, "train.jsonl")


def test_any_of_several_stop_tokens_ends_an_answer() -> None:
    check_stop_token([EncodedRow("a", (1, 2, 8), 2), EncodedRow("b", (1, 2, 9), 2)], {8, 9}, "train.jsonl")


# Shared prefix


def test_the_shared_prefix_holds_the_whole_system_prompt(project: Project) -> None:
    rows, tokenizer = encoded(project)
    length = shared_prefix_length(rows)
    assert system_text(project.task) in tokenizer.decode(rows[0].ids[:length])
    assert len({row.ids[:length] for row in rows}) == 1


ROWS = st.lists(
    st.tuples(st.lists(st.integers(1, 2), min_size=1, max_size=6), st.lists(st.integers(1, 2), min_size=1, max_size=3)),
    min_size=1,
    max_size=5,
)


@given(ROWS)
def test_the_shared_prefix_is_the_longest_that_leaves_every_prompt_its_last_token(rows: list[Any]) -> None:
    made = [EncodedRow(str(i), (*prompt, *answer), len(prompt)) for i, (prompt, answer) in enumerate(rows)]
    limit = min(row.prompt_length for row in made) - 1
    fitting = [n for n in range(limit + 1) if len({row.ids[:n] for row in made}) == 1]
    assert shared_prefix_length(made) == max(fitting)
