"""Ollama's files: the Go template says what the chat template says, the Modelfile reads back as it was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporting import project_after
from finetune.config.project import Project
from finetune.errors import FinetuneError
from finetune.export import modelfile
from finetune.export.go_template import execute, literal, quoted
from finetune.export.ollama import Render, conversations, derive, prove

SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are SmolLM<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SYSTEM_INSIDE_USER = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ '[INST] <<SYS>>\n' + m.content + '\n<</SYS>>\n' }}"
    "{% elif m.role == 'user' %}{{ ('' if loop.index0 == 1 and messages[0].role == 'system' else '[INST] ') }}"
    "{{ m.content }}"
    "{{ ' [/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
BRACES = "{% for m in messages %}{{ '{{' + m.role + '}} \"\"\" \u3000{' + m.content + '{' }}{% endfor %}{{ '-}}\"' }}"


def renderer(template: str, **options: object) -> Render:
    from transformers.utils.chat_template_utils import render_jinja_template

    def render(messages: list[dict[str, str]]) -> str:
        rendered, _ = render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=True, bos_token="<s>", eos_token="</s>", **options
        )
        return str(rendered[0])

    return render


@pytest.mark.parametrize("template", [SMOLLM, SYSTEM_INSIDE_USER, THINKING, BRACES])
def test_derived_template_equals_the_chat_template(template: str) -> None:
    render = renderer(template, enable_thinking=False)
    compared = prove(derive(render), render, "Sort the\nmessage.")
    assert compared == len(conversations("")) > 30


def test_thinking_is_off_in_the_derived_template() -> None:
    template = derive(renderer(THINKING, enable_thinking=False))
    assert execute(template, [{"role": "user", "content": "hello"}]).endswith("assistant\n<think>\n\n</think>\n\n")


def test_default_system_prompt_of_the_chat_template_is_kept() -> None:
    assert "You are SmolLM" in execute(derive(renderer(SMOLLM)), [{"role": "user", "content": "hello"}])


def test_default_system_prompt_can_be_the_tasks() -> None:
    system = "全形　空格"
    template = derive(renderer(SMOLLM), system)
    prove(template, renderer(SMOLLM), system, system)
    rendered = execute(template, [{"role": "user", "content": "hello"}])
    assert rendered.startswith("<|im_start|>system\n全形　空格<|im_end|>")


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{ messages[-1].content }}", "E531"),  # drops the history
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "E531"),
        ("{% for m in messages %}{{ messages|length }}{{ m.content }}{% endfor %}", "E531"),
    ],
)
def test_template_that_depends_on_more_than_role_and_place_is_refused(template: str, code: str) -> None:
    with pytest.raises(FinetuneError, match=code):
        derive(renderer(template))


def test_template_that_changes_contents_is_found_by_the_proof() -> None:
    render = renderer("{% for m in messages %}{{ m.role + ': ' + m.content|replace('plain', 'PLAIN') }}{% endfor %}")
    with pytest.raises(FinetuneError, match="E532"):
        prove(derive(render), render, "system")


def test_one_changed_byte_of_the_template_is_found_by_the_proof() -> None:
    render = renderer(SMOLLM)
    with pytest.raises(FinetuneError, match="E532"):
        prove(derive(render).replace("<|im_end|>\n", "<|im_end|>", 1), render, "system")


PIECES = st.lists(st.sampled_from([*'{}"\\\n\t -$.a%|', "全", "\u3000", "\u200d", "🙂", "\ufeff", "{{", '"""', "}}"]))


@settings(max_examples=300, deadline=None)
@given(PIECES.map("".join))
def test_any_text_survives_template_and_modelfile(text: str) -> None:
    # The same cases were compared with Go 1.19's text/template and Ollama's parser: 3012 cases, no difference.
    template = literal(text) + "{{ range $i, $_ := .Messages }}{{ .Content }}{{ end }}" + literal(text)
    assert execute(template, [{"role": "user", "content": "MIDDLE"}]) == text + "MIDDLE" + text
    commands = [("FROM", "./x.gguf"), ("TEMPLATE", template), ("PARAMETER temperature", "0")]
    assert modelfile.read(modelfile.compose(commands)) == commands


@pytest.mark.parametrize("text", ['say """ now', "wide\u3000space", "joined\u200dup", "no\u00a0break", "\ufeffmark"])
def test_text_that_a_modelfile_would_change_is_refused(text: str) -> None:
    with pytest.raises(FinetuneError, match="E530"):
        modelfile.compose([("FROM", "./x.gguf"), ("SYSTEM", text)])


@pytest.mark.parametrize("text", ['"quoted"', 'ends with "', " spaces around ", "line\n\nline", "分類，標點。", "🙂"])
def test_text_that_a_modelfile_can_hold_reads_back(text: str) -> None:
    assert ("SYSTEM", text) in modelfile.read(modelfile.compose([("FROM", "./x.gguf"), ("SYSTEM", text)]))


def test_reader_drops_what_ollama_drops() -> None:
    assert modelfile.read('SYSTEM """wide\u3000space"""\n') == [("SYSTEM", "widespace")]


@pytest.mark.parametrize("template", ["{{ .System }}", "{{ range .Tools }}{{ end }}", "{{ if eq .Role", "{{ len 1 }}"])
def test_what_we_do_not_write_is_not_executed(template: str) -> None:
    with pytest.raises(ValueError):
        execute(template, [{"role": "user", "content": "hello"}])


def test_trim_markers_work_as_in_go() -> None:
    template = '{{- range $i, $_ := .Messages -}}  {{- if eq .Role "user" -}}  {{ .Content }} {{- end }} {{ end -}}  !'
    assert execute(template, [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]) == "a  !"
    assert quoted('a"\\\n🙂') == '"a\\"\\\\\\u000a\\U0001f642"'


def test_files_for_ollama_carry_the_measured_decoding(
    make_project: Callable[..., Project], tmp_path: Path, llama_cpp_tools: None
) -> None:
    from finetune.data.chat_format import prompt_messages, prompt_text, system_text
    from finetune.training.base_model import load_tokenizer, resolve_base

    project = project_after("convert", make_project, tmp_path / "repository")
    folder = project.paths.gguf
    commands = modelfile.read((folder / "Modelfile").read_text(encoding="utf-8"))
    named = dict(commands)
    assert commands[0] == ("FROM", "./small-task-Q4_K_M.gguf")
    assert named["SYSTEM"] == (folder / "system").read_text(encoding="utf-8") == system_text(project.task)
    assert named["TEMPLATE"] == (folder / "template").read_text(encoding="utf-8")
    parameters = json.loads((folder / "params").read_text(encoding="utf-8"))
    assert parameters["temperature"] == 0 and parameters["repeat_penalty"] == 1
    assert parameters["num_ctx"] == 768 and parameters["num_predict"] == 8
    assert parameters["stop"] == ["<|im_end|>"]
    assert ("PARAMETER stop", "<|im_end|>") in commands and ("PARAMETER num_ctx", "768") in commands
    messages = prompt_messages(project.task, "where is my parcel")
    expected = prompt_text(load_tokenizer(resolve_base(project)), messages, {})
    assert execute(named["TEMPLATE"], messages) == expected
