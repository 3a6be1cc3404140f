"""Control tokens of the base model's own tokenizer: in texts, in templated rows by count, and what is said without."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_inputs import BAD, judge, places, row
from finetune.console import run
from finetune.data.chat_format import completion_suffix, prompt_messages, prompt_text
from finetune.data.records import Record
from finetune.data.stage import validate
from finetune.data.tokens.base_tokenizer import BaseTokenizer, find_base_tokenizer
from finetune.data.tokens.control_tokens import ControlTokens, TemplateProof, Unproved

NOT_CHECKED = "not checked: control tokens of the base model (no tokenizer.json of models/base/tiny on this machine)"


def record(text: str, reference: str = "billing") -> Record:
    return Record("id", text, reference, None, "rows.jsonl", 1, b"", None)


@pytest.fixture
def tiny(tiny_base) -> BaseTokenizer:
    return BaseTokenizer(tiny_base)


def test_the_names_are_those_of_the_tokenizer_file(tiny) -> None:
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<file_sep>", "<jupyter_code>"} <= set(tiny.control_tokens)
    assert all(not name.isalnum() for name in tiny.control_tokens)


@pytest.mark.parametrize("text", ["a <file_sep> b", "a ＜ｆｉｌｅ＿ｓｅｐ＞", "a <file\u200b_se\u2060p>", "<file_sep>"])
def test_a_name_is_found_in_any_disguise(text: str) -> None:
    assert ControlTokens(["<file_sep>", "<filename>"]).find(text) == "<file_sep>"


def test_a_name_that_is_no_plain_form_itself_is_found() -> None:
    tokens = ControlTokens(["<｜begin▁of▁sentence｜>"])
    assert tokens.find("x <|begin▁of▁sentence|>") == tokens.find("<｜begin▁of▁sentence｜>") == "<｜begin▁of▁sentence｜>"
    assert ControlTokens([]).find("anything") is None


def test_a_token_that_the_built_in_list_does_not_know_is_refused_with_its_line(make_project, capsys) -> None:
    project = make_project(base=True)
    (project.paths.raw / "bad.jsonl").write_bytes(row() + row("see <file_sep> here"))
    _, problems, said = judge(project.paths.root, capsys)
    assert places(problems) == [("E130", BAD, 2)]
    assert "<file_sep>" in problems[0]["message"] and "not checked" not in said
    report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
    assert report["row_checks"]["control_tokens"]["status"] == "done"
    assert report["row_checks"]["template_proof"] == {"status": "done", "rows": 62, "template_tokens": 6}


def test_entities_and_generated_answers_are_texts_too(make_project, capsys, tmp_path) -> None:
    entity = {"type": "product", "text": "<file_sep>"}
    bad = {
        "extraction": {"input": "a <file_sep>", "entities": [entity]},
        "generation": {"input": "a", "output": "thanks <file_sep>"},
    }
    for task_type, content in bad.items():
        project = make_project(task_type, base=True, root=tmp_path / task_type)
        (project.paths.raw / "bad.jsonl").write_text(json.dumps(content), encoding="utf-8")
        _, problems, _ = judge(project.paths.root, capsys)
        assert {code for code, *_ in places(problems)} == {"E130"}
        assert any(project.task.output.field in problem["message"] for problem in problems)


def test_without_the_tokenizer_the_checks_are_called_skipped_never_done(make_project, capsys) -> None:
    project = make_project()
    assert run(validate, project=project.paths.root) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert NOT_CHECKED in said and "by count" in said
    report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
    assert {report["row_checks"][name]["status"] for name in ("control_tokens", "template_proof")} == {"skipped"}


def test_without_the_package_the_count_is_skipped_and_the_names_are_still_looked_for(
    make_project, capsys, monkeypatch
) -> None:
    project = make_project(base=True)  # first: the fixture itself needs the package
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    (project.paths.raw / "bad.jsonl").write_bytes(row("see <file_sep> here"))
    _, problems, said = judge(project.paths.root, capsys)
    assert places(problems) == [("E130", BAD, 1)]
    assert "the package tokenizers is not installed" in said


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"added_tokens": 3}', b'{"added_tokens": []}', b"\xff"])
def test_a_damaged_tokenizer_file_is_said_and_is_no_crash(make_project, capsys, content: bytes) -> None:
    project = make_project(base=True)
    (project.paths.root / "models/base/tiny/tokenizer.json").write_bytes(content)
    assert run(validate, project=project.paths.root) == 0
    assert "not checked: control tokens of templated rows, by count" in " ".join(capsys.readouterr().err.split())


def test_a_control_token_in_the_system_prompt_is_an_error_of_the_task_definition(make_project, capsys) -> None:
    project = make_project(base=True, task={"system_prompt": "Sort. <file_sep>\n{labels}"})
    _, problems, _ = judge(project.paths.root, capsys)
    assert [(p["code"], p["path"], p["key"]) for p in problems] == [("E130", "task_definition.yaml", "system_prompt")]


def test_the_rendering_is_that_of_transformers(make_project, tiny) -> None:
    from transformers import AutoTokenizer

    project = make_project()
    tokenizer = AutoTokenizer.from_pretrained(tiny.folder)
    messages = prompt_messages(project.task, "where is it")
    prompt = prompt_text(tokenizer, messages, {})
    whole = tiny.render([*messages, {"role": "assistant", "content": "billing"}], {})
    assert whole.rstrip("\n") == (prompt + "billing" + completion_suffix(tokenizer, messages, {})).rstrip("\n")


PIECES = ["<|im_end|>", "<|im_", "end|>", "<file_sep>", " a ", "<", "|>", "好", "\n", "im_start|>"]
PARTS = st.lists(st.sampled_from(PIECES))


@pytest.fixture(scope="module")
def counted(tiny_base):
    """(proof, real count): the quick count and that of the whole tokenizer over the whole row."""
    from transformers import AutoTokenizer

    from conftest import task_values
    from finetune.config.task import TaskDefinition

    task = TaskDefinition.model_validate_json(json.dumps(task_values("generation")))
    base, tokenizer = BaseTokenizer(tiny_base), AutoTokenizer.from_pretrained(tiny_base)
    ids = set(base.control_tokens.values())

    def real(text: str, answer: str) -> int:
        messages = [*prompt_messages(task, text), {"role": "assistant", "content": answer.strip()}]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
        return sum(token in ids for token in tokenizer(rendered, add_special_tokens=False)["input_ids"])

    return TemplateProof(base, task, {}), real


@given(PARTS.map("".join), PARTS.map("".join))
def test_the_quick_count_equals_that_of_the_whole_tokenizer(counted, text: str, answer: str) -> None:
    proof, real = counted
    assert proof.surplus([record(text, answer)]) == [real(text, answer) - proof.expected]


def test_a_template_that_needs_transformers_or_hides_the_answer_is_unproved(make_project, tiny_base, tmp_path) -> None:
    shutil.copytree(tiny_base, tmp_path / "model")
    task = make_project().task
    for template, says in (
        ("{% generation %}x{% endgeneration %}", "cannot be rendered here"),
        ("{{ raise_exception('no system') }}", "cannot be rendered here"),
        ("{{ messages[1]['content'] }}", "exactly once"),
        ("", "no chat template"),
    ):
        (tmp_path / "model" / "chat_template.jinja").write_text(template, encoding="utf-8")
        with pytest.raises(Unproved, match=says):
            TemplateProof(BaseTokenizer(tmp_path / "model"), task, {})


def test_the_tokenizer_is_found_in_the_hub_cache_at_the_pinned_revision(make_project, tiny_base, tmp_path, monkeypatch):
    commit, other = "a" * 40, "b" * 40
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--acme--small" / "snapshots" / commit
    folder.mkdir(parents=True)
    shutil.copyfile(tiny_base / "tokenizer.json", folder / "tokenizer.json")
    (folder.parent.parent / "refs").mkdir()
    (folder.parent.parent / "refs" / "main").write_text(commit)
    for revision, found in ((commit, folder), ("main", folder), (other, None)):
        base = find_base_tokenizer(make_project(training={"base_model": {"id": "acme/small", "revision": revision}}))
        assert (base and base.folder) == found
