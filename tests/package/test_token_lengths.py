"""The length of a row in tokens: counted as training counts it, and only where the row could be too long."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_kinds as kinds
from bad_inputs import BAD, RAW, judge, places, row
from conftest import raw_rows, task_values, training_values
from finetune.config.task import TaskDefinition
from finetune.config.training import TrainingConfig
from finetune.data.chat_format import completion_suffix, encode_completion, encode_prompt, prompt_messages
from finetune.data.stage import convert
from finetune.data.tokens.base_tokenizer import BaseTokenizer
from finetune.data.tokens.control_tokens import Unproved
from finetune.data.tokens.lengths import TokenLengths, too_long
from finetune.data.tokens.plain_tokenizer import PlainTokenizer
from finetune.errors import BadInput
from finetune.training.base_model import load_tokenizer, resolve_base
from finetune.training.dataset import load_rows

PIECES = [
    "<|im_end|>",
    "<|im_",
    "end|>",
    " the ",
    "好",
    "包裹在哪裡",
    "\n",
    "a\u0301",
    "\u0958",
    "\U0001d160",
    "\U0001f680",
    "é",
    "  ",
]
TEXT = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
KINDS = ("byte level", "qwen", "byte fallback", "prepended", "unigram")


def definition(task_type: str = "generation") -> TaskDefinition:
    return TaskDefinition.model_validate_json(json.dumps(task_values(task_type)))


def training(max_length: int) -> TrainingConfig:
    return TrainingConfig.model_validate_json(json.dumps({**training_values(), "max_length": max_length}))


def lengths(folder: Path, max_length: int = 512) -> TokenLengths:
    return TokenLengths(BaseTokenizer(folder), definition(), training(max_length))


@pytest.fixture(scope="module")
def models(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("kinds")
    return {
        "byte level": tiny_base,
        "qwen": kinds.qwen(tiny_base, root / "qwen"),
        "byte fallback": kinds.byte_fallback(tiny_base, root / "fallback", prepend=False),
        "prepended": kinds.byte_fallback(tiny_base, root / "prepended", prepend=True),
        "unigram": kinds.unigram(tiny_base, root / "unigram"),
    }


class Real:
    """The row as training/dataset.py encodes it, with transformers."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer, self.task = AutoTokenizer.from_pretrained(folder), definition()
        self.suffix = completion_suffix(self.tokenizer, prompt_messages(self.task, "x"), {})

    def ids(self, text: str, answer: str) -> tuple[list[int], list[int]]:
        prompt = encode_prompt(self.tokenizer, prompt_messages(self.task, text), {})
        return prompt, encode_completion(self.tokenizer, answer, self.suffix)

    def count(self, text: str, answer: str) -> tuple[int, int]:
        prompt, completion = self.ids(text, answer)
        return len(prompt), len(completion)


@pytest.fixture(scope="module")
def real(models: dict[str, Path]) -> dict[str, Real]:
    return {kind: Real(folder) for kind, folder in models.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_token_ids_and_counts_are_those_of_training(models: dict[str, Path], real: dict[str, Real], kind: str) -> None:
    plain, counted, task = PlainTokenizer(BaseTokenizer(models[kind])), lengths(models[kind]), definition()
    suffix = completion_suffix(plain, prompt_messages(task, "x"), {})
    assert suffix == real[kind].suffix

    @given(TEXT, TEXT)
    @settings(max_examples=60, deadline=None)
    def agree(text: str, answer: str) -> None:
        ids = encode_prompt(plain, prompt_messages(task, text), {}), encode_completion(plain, answer, suffix)
        assert ids == real[kind].ids(text, answer)
        assert counted.count(text, answer) == real[kind].count(text, answer)

    agree()
    assert counted.template == sum(real[kind].count("", ""))


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_not_tokenised_is_never_too_long(
    models: dict[str, Path], real: dict[str, Real], kind: str
) -> None:
    """Limits close to the template: the budget, and what lies around it, is within reach of small texts."""
    empty = sum(real[kind].count("", ""))
    checked = {room: lengths(models[kind], empty + room) for room in (0, 1, 5, 20, 40, 80)}

    @given(TEXT, TEXT, st.sampled_from(list(checked)))
    @settings(max_examples=150, deadline=None)
    def agree(text: str, answer: str, room: int) -> None:
        said = checked[room].check(text, answer)
        assert said == too_long(*real[kind].count(text, answer), empty + room)
        size = len(text.encode()) + len(answer.encode())
        assert said is None or size > checked[room].budget_bytes

    agree()
    for piece in PIECES:  # those that normal form C lengthens among them
        for size in range(1, 30):
            text = piece * size
            assert checked[80].check(text, "") == too_long(*real[kind].count(text, ""), empty + 80)
            assert checked[80].check("", text) == too_long(*real[kind].count("", text), empty + 80)


@pytest.mark.parametrize(
    ("kind", "budget"),
    # max_length, less the template's tokens that stand apart, less the bytes in one part with the question ("user\n")
    [
        ("byte level", 512 - 17 - 5),
        ("qwen", (512 - 17) // 3 - 5),
        ("byte fallback", 512 - 42 - 5),
        ("prepended", 512 - 45 - 5 - 2),  # a prefix of the question, and one of the answer,
        ("unigram", -1),
    ],
)
def test_the_budget_is_what_the_template_leaves(models: dict[str, Path], kind: str, budget: int) -> None:
    assert lengths(models[kind]).budget_bytes == budget


@pytest.mark.parametrize("kind", ["byte level", "qwen", "byte fallback", "prepended"])
def test_the_budget_is_reached_where_every_byte_is_a_token(models: dict[str, Path], real: dict[str, Real], kind: str):
    """Not a bound that is far too careful: with so many bytes a row can be within a few tokens of the limit."""
    made = lengths(models[kind])
    text = "\U000e0101\U000e0102" * 80  # characters that no vocabulary has
    most = 0
    while made.check(text[: most + 1], "") is None and made.tokenised == 0:
        most += 1
    assert sum(real[kind].count(text[:most], "")) >= 512 - 12


def test_rows_within_the_budget_never_reach_the_vocabulary(models: dict[str, Path]) -> None:
    made = lengths(models["qwen"])
    assert made.check("a" * made.budget_bytes, "") is None
    assert made.check("裡" * 100, "好" * 60) is None, "480 bytes in normal form C"
    assert (made.tokenised, made.over, made.longest) == (0, 0, 0)
    made.check("\u0958" * 100, "")  # 300 bytes that normal form C makes 600
    assert made.tokenised == 1


@pytest.mark.parametrize(
    ("prompt", "answer", "code"),
    [(10, 6, None), (10, 7, "E138"), (15, 1, None), (15, 2, "E138"), (16, 1, "E139"), (17, 0, "E139")],
)
def test_a_prompt_that_leaves_no_room_is_another_fault_than_a_long_row(prompt: int, answer: int, code: str | None):
    found = too_long(prompt, answer, 16)
    assert (found and found[0]) == code


TEMPLATES = {
    "trims": ("[s]{{ messages[0].content }}[u]{{ messages[1].content | trim }}[a]", True),
    "escapes": ("[s]{{ messages[0].content }}[u]{{ messages[1].content | tojson }}[a]", False),
    "looks": (
        "[s]{{ messages[0].content }}[u]{{ messages[1].content }}"
        "{% if '</think>' in messages[1].content %}thought before{% endif %}[a]", False,
    ),
}  # fmt: skip
ANSWER = "{% if messages[-1].role == 'assistant' %}{{ messages[-1].content }}{{ eos_token }}{% endif %}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_that_makes_the_question_longer_has_no_budget(tiny_base, tmp_path, name: str) -> None:
    source, bounded = TEMPLATES[name]
    shutil.copytree(tiny_base, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(source + ANSWER, encoding="utf-8")
    made, expected = lengths(tmp_path / "model"), Real(tmp_path / "model")
    assert (made.budget_bytes > 0) == bounded
    for text in (' "q"\n', "</think> why", "a b", "  "):
        assert made.count(text, "yes") == expected.count(text, "yes")


def test_what_cannot_be_counted_says_why(tiny_base, tmp_path) -> None:
    shutil.copytree(tiny_base, tmp_path / "model")
    template = tmp_path / "model" / "chat_template.jinja"
    for source, says in (
        ("{{ raise_exception('no system') }}", "no system"),
        ("always the same", "exactly once"),
        ("{{ messages[1].content }}{{ messages[1].content }}" + ANSWER, "exactly once"),
    ):
        template.write_text(source, encoding="utf-8")
        with pytest.raises(Unproved, match=says):
            lengths(tmp_path / "model")


# The whole way: D48 and D49


def report(project: Any) -> dict[str, Any]:
    return json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))["row_checks"]["token_lengths"]


LONG = {"input": {"max_chars": 20_000}}


def test_d48_a_row_longer_than_max_length_is_named_with_count_and_longest(make_project, capsys) -> None:
    project = make_project("generation", base=True, task=LONG)
    answers = ["yes " * 700, "yes " * 900]
    bad = [json.dumps({"input": f"why {n}", "output": text}).encode() + b"\n" for n, text in enumerate(answers)]
    (project.paths.raw / "bad.jsonl").write_bytes(b"".join(bad))
    _, problems, said = judge(project.paths.root, capsys)
    assert places(problems) == [("E138", RAW, None), ("E138", BAD, 1), ("E138", BAD, 2)]
    facts = report(project)
    assert (facts["status"], facts["limit"], facts["over"]) == ("done", 512, 2) and facts["longest"] > 900
    assert f"{facts['longest']} tokens" in problems[2]["message"] and "max_length is 512" in problems[2]["message"]
    assert f"2 rows have more tokens than max_length (512), the longest {facts['longest']}" in problems[0]["message"]
    assert f"set max_length to {facts['longest']} or more" in problems[0]["fix"] and "max_length is 512" in said


def test_d49_a_prompt_that_leaves_no_room_for_the_answer_is_named(make_project, capsys) -> None:
    project = make_project(base=True, task=LONG)
    (project.paths.raw / "bad.jsonl").write_bytes(row() + row("word " * 600))
    _, problems, _ = judge(project.paths.root, capsys)
    assert places(problems) == [("E138", RAW, None), ("E139", BAD, 2)]
    assert "no token of the answer would be trained" in problems[1]["message"]


def test_rows_of_ordinary_length_are_not_tokenised(make_project, capsys) -> None:
    project = make_project(base=True)
    assert judge(project.paths.root, capsys)[0] == 0
    assert report(project) == {
        "status": "done",
        "limit": 512,
        "template": 45,
        "tokenised": 0,
        "over": 0,
        "longest": 0,
    }


def test_without_the_tokenizer_the_lengths_are_called_not_checked(make_project, capsys) -> None:
    project = make_project()
    _, problems, said = judge(project.paths.root, capsys)
    assert problems == [] and "not checked: length of rows in tokens (no tokenizer.json of" in " ".join(said.split())
    assert report(project)["status"] == "skipped" and "passed" not in json.dumps(report(project))


def test_training_refuses_the_same_rows_with_the_same_words(make_project, capsys, tmp_path) -> None:
    """Converted where there was no tokenizer to check with, as on a machine without the model."""
    pairs = [("why", "yes " * 480), ("how", "yes " * 495), ("word " * 600, "no")]
    extra = [{"input": text, "output": answer, "group": "in-train"} for text, answer in pairs]
    rows = [*raw_rows("generation"), *extra]
    room = {"task": {**LONG, "output": {"max_new_tokens": 500}}, "benchmark": {"generation": {"context": 2048}}}
    blind = make_project("generation", rows=rows, root=tmp_path / "blind", **room)
    assert convert(blind) == 0
    seeing = make_project("generation", rows=rows, base=True, **room)
    code, problems, _ = judge(seeing.paths.root, capsys)
    assert code == 2 and {"E138", "E139"} == {problem["code"] for problem in problems}
    with pytest.raises(BadInput) as failure:
        load_rows(blind.paths.train, blind, load_tokenizer(resolve_base(seeing)))
    refused = failure.value.problems.errors
    of_rows = [p for p in problems if p["line"]]  # the first one counts them all
    assert [(p.code, p.message, p.fix) for p in refused] == [(p["code"], p["message"], p["fix"]) for p in of_rows]


def test_the_growth_of_normal_form_c_is_known() -> None:
    """The bound that budgets rely on, over every character of this Python's Unicode."""
    from finetune.data.tokens.bounds import NFC_GROWTH

    def grown(code: int) -> float:
        return len(unicodedata.normalize("NFC", chr(code)).encode()) / len(chr(code).encode())

    assert max(grown(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000) == NFC_GROWTH


LABELS = [{"name": name, "description": name} for name in ("yes", "reverted card payment", "no")]


@pytest.mark.parametrize("base", [True, False])
def test_a_label_that_cannot_be_generated_is_said_once(make_project, capsys, tmp_path, base: bool) -> None:
    rows = [{"input": f"question {n}", "label": LABELS[n % 3]["name"]} for n in range(60)]
    output = {"labels": LABELS, "max_new_tokens": 1}
    project = make_project(rows=rows, base=base, task={"output": output})
    code, problems, _ = judge(project.paths.root, capsys)
    assert code == 2 and places(problems) == [("E158", "task_definition.yaml", None)]
    assert '"reverted card payment"' in problems[0]["message"] and "tokens with its end" in problems[0]["message"]
    needed = int(problems[0]["fix"].split(" to ")[1].split(" ")[0])
    output = {**output, "max_new_tokens": needed}
    project = make_project(rows=rows, base=base, task={"output": output}, root=tmp_path / "mended")
    assert judge(project.paths.root, capsys)[0] == 0


@pytest.mark.parametrize("base", [True, False])
def test_answers_beyond_the_cap_are_named_with_the_number_that_helps(
    make_project, capsys, tmp_path, base: bool
) -> None:
    texts = ["yes " * 30, "sure thing " * 40, "fine"]
    rows = [*raw_rows("generation"), *({"input": f"why {n}", "output": text} for n, text in enumerate(texts))]
    project = make_project("generation", rows=rows, base=base, task={"output": {"max_new_tokens": 24}})
    code, problems, _ = judge(project.paths.root, capsys)
    assert code == 2 and [(p["code"], p["line"]) for p in problems] == [("E158", None), ("E158", 61), ("E158", 62)]
    needed = int(problems[0]["fix"].split(" to ")[1].split(" ")[0])
    assert needed == max(int(p["fix"].split(" to ")[1].split(" ")[0]) for p in problems[1:])
    output = {"max_new_tokens": needed}
    project = make_project("generation", rows=rows, base=base, task={"output": output}, root=tmp_path / "mended")
    assert judge(project.paths.root, capsys)[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_never_counted_fits(models: dict[str, Path], real: dict[str, Real], kind: str) -> None:
    """The promise in bytes, for every kind of tokenizer."""
    found = lengths(models[kind])

    @given(TEXT, st.integers(1, 90))
    @settings(max_examples=150, deadline=None)
    def fits(text: str, cap: int) -> None:
        needed = len(real[kind].ids("x", text)[1])
        assert found.answer(text) == needed
        assert needed <= cap or not found.surely_fits(text, cap)

    fits()
    assert found.surely_fits("好" * 20, 90) == (kind != "unigram")
