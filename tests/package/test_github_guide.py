"""The integration guide: snippets that run, names of exactly this release, and text that stays text."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from finetune.config.project import Project
from finetune.data.chat_format import completion_text, encode_prompt, parse_completion, prompt_messages, system_text
from finetune.github.release import guide
from finetune.github.release.published import Published, read_published
from finetune.github.release.tags import Tag
from release_tree import refresh
from releasing import released, write_receipts

HOSTILE = "<img src=x> [y](http://evil.test) @all `$(touch /tmp/x)` 'quote\" | a\n# Head\n```\n::set-output name=a::b"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    patch = pytest.MonkeyPatch()
    project = released(tmp_path_factory.mktemp("released"), patch)
    (project.paths.gguf / "params").write_text('{"stop": ["<|im_end|>"]}', encoding="utf-8")
    refresh(project, "gguf")
    write_receipts(project)
    yield read_published(project, Tag("v1.2.3"), "c" * 40)
    patch.undo()


def with_task(published: Published, **changes: Any) -> Published:
    task = published.project.task.model_copy(update=changes)
    return replace(published, project=replace(published.project, task=task))


def tokens(text: str) -> list[Any]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def blocks(text: str, language: str) -> list[str]:
    return [token.content for token in tokens(text) if token.type == "fence" and token.info == language]


def test_the_guide_names_commits_not_tags_in_its_commands(published: Published) -> None:
    text = guide.render_guide(published)
    assert "vllm serve acme/small --revision " + "3" * 40 in text
    assert len(re.findall("hf download acme/small-gguf small-task-Q8_0.gguf .*--revision " + "2" * 40, text)) == 2
    assert "REVISION = 'acme/small-lora', '" + "1" * 40 in text
    assert "v1.2.3" in text and "--revision v1.2.3" not in text
    assert "`<|im_end|>`" in text


def test_every_python_snippet_compiles_and_carries_the_exact_prompt(published: Published) -> None:
    found = blocks(guide.render_guide(published), "python")
    assert len(found) == 5
    prompts = []
    for block in found:
        for node in ast.parse(block).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SYSTEM":
                prompts.append(ast.literal_eval(node.value))
    assert prompts == [system_text(published.project.task)] * 4


def test_every_shell_command_parses_and_quotes_the_example(published: Published) -> None:
    example = 'it\'s "here" $(touch x) `y`\n全形　空格'
    task = published.project.task
    text = guide.render_guide(with_task(published, input=task.input.model_copy(update={"example": example})))
    commands = blocks(text, "bash")
    assert len(commands) == 5
    for block in commands:
        subprocess.run(["bash", "-n"], input=block.encode(), check=True)
    # `ollama` and `curl` stand for themselves: what arrives as their last word is the example, byte for byte.
    script = "ollama() { printf '%s' \"${@: -1}\"; }\n" + commands[0]
    said = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert said.stdout.decode() == example
    script = "hf() { :; }; ollama() { :; }\ncurl() { printf '%s' \"${@: -1}\"; }\n" + commands[1]
    said = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert json.loads(said.stdout)["messages"][0]["content"] == example


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_the_answer_reader_agrees_with_the_one_that_was_measured(
    make_project: Callable[..., Project], published: Published, task_type: str
) -> None:
    task = make_project(task_type).task
    text = guide.render_guide(replace(published, project=replace(published.project, task=task)))
    (reader,) = (block for block in blocks(text, "python") if "def read_answer" in block)
    names: dict[str, Any] = {}
    exec(compile(reader, "guide", "exec"), names)
    entities = [{"type": name, "text": "a"} for name in task.entity_type_names]
    reference = {"classification": "billing", "extraction": entities, "generation": "yes"}[task_type]
    right = completion_text(task, reference)
    assert names["read_answer"](f"{right}\n") == parse_completion(task, right) == reference
    for wrong in (
        "",
        "nonsense, " * 3 if task_type != "generation" else " ",
        '{"entities": [{"type": "?", "text": ""}]}',
    ):
        if task_type != "generation" or not wrong.strip():
            assert names["read_answer"](wrong) is None and not parse_completion(task, wrong)


def test_both_languages_say_the_same_things(published: Published) -> None:
    words = yaml.safe_load((Path(guide.__file__).parent / "templates" / "guide.yaml").read_text(encoding="utf-8"))
    assert words["en"].keys() == words["zh-TW"].keys()
    for name, text in words["en"].items():
        if isinstance(text, str):
            assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", words["zh-TW"][name])), name
    english, chinese = (guide.render_guide(with_task(published, language=tag)) for tag in ("en", "zh-TW"))
    assert "整合指南" in chinese and "How to call" in english
    kinds = [[(t.type, t.tag) for t in tokens(text)] for text in (english, chinese)]
    assert kinds[0] == kinds[1]


def test_hostile_text_of_the_task_stays_text(published: Published) -> None:
    task = published.project.task
    changes = {
        "description": HOSTILE,
        "system_prompt": f"{HOSTILE}\n{{labels}}",
        "input": task.input.model_copy(update={"example": HOSTILE, "description": HOSTILE}),
        "output": task.output.model_copy(update={"description": HOSTILE, "example": HOSTILE}),
    }
    plain, hostile = guide.render_guide(published), guide.render_guide(with_task(published, **changes))
    assert [t.type for t in tokens(hostile)] == [t.type for t in tokens(plain)]
    links = [
        inner.attrs["href"]
        for t in tokens(hostile)
        for inner in t.children or ()
        if inner.type in ("link_open", "image")
    ]
    assert links and not [link for link in links if "evil" in link]
    assert not [inner for t in tokens(hostile) for inner in (t, *(t.children or ())) if inner.type.startswith("html")]


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_the_transformers_snippet_asks_a_real_model_as_it_was_measured(
    published: Published, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """The snippet as printed; only the repository ids are replaced by folders."""
    folder = tiny_base if form == "merged" else _save_adapter(tiny_base, tmp_path / "adapter")
    library = "AutoPeftModel" if form == "adapter" else "AutoModelForCausalLM"
    (snippet,) = (block for block in blocks(guide.render_guide(published), "python") if library in block)
    here = snippet.replace(repr(published.receipt(form).repo), repr(str(folder)))
    here = here.replace(repr(published.project.training.base_model.id), repr(str(tiny_base)))
    names: dict[str, Any] = {}
    exec(compile(here, "guide", "exec"), names)
    assert capsys.readouterr().out == _answer(published.project, names["model"], names["tokenizer"]) + "\n"


def _answer(project: Project, model: Any, tokenizer: Any) -> str:
    """What the model says to the example by the pipeline's own prompt."""
    import torch

    prompt = encode_prompt(tokenizer, prompt_messages(project.task, project.task.input.example), {})
    tokens = torch.tensor([prompt])
    said = model.generate(input_ids=tokens, attention_mask=tokens.ne(-1), max_new_tokens=8, do_sample=False)
    assert len(prompt) < said.shape[1] <= len(prompt) + 8
    return tokenizer.decode(said[0, len(prompt) :], skip_special_tokens=True)


def _save_adapter(base: Path, folder: Path) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder
