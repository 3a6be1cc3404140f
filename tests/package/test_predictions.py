"""Predictions are kept, reused while nothing changed, and made anew when anything they depend on did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from finetune.data.stage import convert
from finetune.errors import FinetuneError
from finetune.evaluation.baselines import majority, most_frequent_answer
from finetune.evaluation.completions import Completion
from finetune.evaluation.predictions import read_predictions, read_test, score_artefact


class Constant:
    """A backend that always answers the same and counts how often it is asked."""

    name = "constant"

    def __init__(self, answer: str = " Billing ") -> None:
        self.answer, self.asked, self.closed = answer, 0, False

    def prompt_ids(self, messages: Any) -> list[int]:
        return [1]

    def generate(self, conversations: Any, max_new_tokens: int) -> Iterator[Completion]:
        for _ in conversations:
            self.asked += 1
            yield Completion(self.answer, 3, 0.5, True, 0.25)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def project(make_project: Callable[..., Any]) -> Any:
    project = make_project(base=True)
    convert(project)
    return project


def test_scores_come_from_the_answers(project: Any) -> None:
    records, backend = read_test(project), Constant()
    found = score_artefact(project, "zero_shot", backend)
    billing = sum(record.reference == "billing" for record in records)
    assert found.metrics["accuracy"] == pytest.approx(billing / len(records))
    assert backend.asked == len(records) and not backend.closed, "who opens a backend closes it"
    assert found.tokens_per_s == pytest.approx(6.0) and found.seconds == pytest.approx(len(records) / 2)
    assert found.speed.seconds_per_row_median == pytest.approx(0.5)
    kept = list(read_predictions(project.paths.predictions / "zero_shot.jsonl"))
    assert kept == found.predictions and kept[0].parsed == "billing" and kept[0].text == " Billing "


def test_a_second_run_asks_nothing_and_scores_the_same(project: Any) -> None:
    first, backend = score_artefact(project, "zero_shot", Constant()), Constant("account")
    again = score_artefact(project, "zero_shot", backend)
    assert backend.asked == 0 and again.reused and not first.reused
    assert again.metrics == first.metrics and again.digest == first.digest


@pytest.mark.parametrize("change", ["force", "test set", "labels", "token cap", "base model", "kept file", "thinking"])
def test_what_the_answers_depend_on_makes_a_new_run(
    project: Any, make_project: Callable[..., Any], change: str
) -> None:
    score_artefact(project, "zero_shot", Constant())
    backend, kept = Constant(), project.paths.predictions / "zero_shot.jsonl"
    if change == "test set":
        project.paths.test.write_text(project.paths.test.read_text(encoding="utf-8") * 2, encoding="utf-8")
    elif change == "labels":
        labels = [{"name": name, "description": "else"} for name in ("billing", "shipping", "account")]
        project = make_project(task={"output": {"labels": labels}})
    elif change == "token cap":
        project = make_project(task={"output": {"max_new_tokens": 9}})
    elif change == "thinking":
        project = make_project(training={"base_model": {"enable_thinking": False}})
    elif change == "base model":
        (project.paths.root / "models/base/tiny/config.json").open("a", encoding="utf-8").write("\n")
    elif change == "kept file":
        kept.write_text(kept.read_text(encoding="utf-8").replace("Billing", "account"), encoding="utf-8")
    found = score_artefact(project, "zero_shot", backend, force=change == "force")
    assert backend.asked == len(found.predictions) > 0


@pytest.mark.parametrize("runtime", [{"package": 1}, [1], "llama.cpp", {"package": "a", "more": 1}])
def test_kept_answers_whose_runtime_cannot_be_read_are_asked_for_again(project: Any, runtime: Any) -> None:
    score_artefact(project, "zero_shot", Constant())
    manifest = project.paths.predictions / "zero_shot.manifest.json"
    values = json.loads(manifest.read_text(encoding="utf-8"))
    values["facts"]["runtime"] = runtime
    manifest.write_text(json.dumps(values), encoding="utf-8")
    again = score_artefact(project, "zero_shot", backend := Constant())
    assert not again.reused and again.runtime is None and backend.asked == len(again.predictions)


def test_a_limited_run_leaves_the_full_one_alone(project: Any) -> None:
    full = score_artefact(project, "zero_shot", Constant())
    assert len(score_artefact(project, "zero_shot", Constant(), limit=2).predictions) == 2
    assert score_artefact(project, "zero_shot", Constant()).predictions == full.predictions


def test_an_interrupted_run_keeps_nothing(project: Any) -> None:
    class Broken(Constant):
        def generate(self, conversations: Any, max_new_tokens: int) -> Iterator[Completion]:
            yield Completion("billing", 1, 0.1, True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_artefact(project, "zero_shot", Broken())
    assert not list(project.paths.results.rglob("zero_shot*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no test set in data/test.jsonl"),
        ("", "data/test.jsonl has no rows"),
        ("{\n", "data/test.jsonl:1 is damaged"),
        ('{"id": "1", "messages": []}\n', "data/test.jsonl:1 is damaged"),
        ('{"more": ' + "[" * 50_000, "data/test.jsonl:1 is damaged"),
        (json.dumps({"id": "1", "messages": [], "reference": "nonsense"}) + "\n", "a label the task does not define"),
    ],
)
def test_a_test_set_that_is_not_this_tasks_is_refused(project: Any, text: str | None, message: str) -> None:
    project.paths.test.unlink() if text is None else project.paths.test.write_text(text, encoding="utf-8")
    with pytest.raises(FinetuneError, match=message) as caught:
        read_test(project)
    assert "scripts/02_convert_format.py" in str(caught.value)


def write_train(project: Any, answers: list[str]) -> None:
    rows = [{"id": str(i), "messages": [{"role": "assistant", "content": text}]} for i, text in enumerate(answers)]
    project.paths.train.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_constant_answer_is_the_most_frequent_of_training(project: Any) -> None:
    write_train(project, ["shipping", "billing", "shipping", "billing", "account"])
    baseline = majority(project, read_test(project))
    records = read_test(project)
    assert baseline.answer == "billing", "a tie goes to the first in the alphabet"
    assert baseline.metrics["accuracy"] == sum(r.reference == "billing" for r in records) / len(records)


def test_oversampled_copies_do_not_make_an_answer_frequent(make_project: Callable[..., Any]) -> None:
    rows = [{"input": f"text number {i} of {i * 7919}", "label": "shipping" if i % 3 else "account"} for i in range(90)]
    rows += [{"input": f"another text {i} at {i * 6007}", "label": "billing"} for i in range(30)]
    project = make_project(rows=rows, task={"data": {"balance": "oversample", "max_imbalance": 9.0}})
    convert(project)
    answers = [json.loads(line)["messages"][-1]["content"] for line in project.paths.train.open(encoding="utf-8")]
    assert answers.count("account") == answers.count("shipping"), "the split is balanced"
    assert most_frequent_answer(project) == "shipping"
