"""Backends on real files: a tiny random Llama with transformers, SmolLM2 as packaged GGUF with llama.cpp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetune.data.chat_format import encode_prompt, prompt_messages, template_options
from finetune.errors import FinetuneError, ModelFault
from finetune.evaluation.backends import TransformersBackend, artefact_path, eos_ids, gguf_path, open_backend
from finetune.training.base_model import PACKAGED, load_tokenizer, load_weights, packaged_file, resolve_base

TEXTS = ["where is my parcel", "the invoice is wrong", "我的包裹在哪裡？🙂", "password", "the parcel is outside"]


@pytest.fixture
def project(make_project: Callable[..., Any]) -> Any:
    return make_project(base=True, task={"output": {"max_new_tokens": 6}})


def conversations(project: Any) -> list[list[dict[str, str]]]:
    return [prompt_messages(project.task, text) for text in TEXTS]


def test_answers_are_those_of_generate(project: Any) -> None:
    import torch

    base = resolve_base(project)
    backend = TransformersBackend("zero_shot", base, project=project)
    answers = list(backend.generate(conversations(project), max_new_tokens=6))
    model, tokenizer = load_weights(base, dtype=torch.float32, device="cpu"), load_tokenizer(base)
    for messages, answer in zip(conversations(project), answers, strict=True):
        ids = torch.tensor([backend.prompt_ids(messages)])
        written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)[0]
        assert answer.text == tokenizer.decode(written[ids.shape[1] :], skip_special_tokens=True)
        assert answer.tokens == len(written) - ids.shape[1]
        assert answer.seconds > 0 and 0 <= answer.confidence <= 1
    backend.close()


def test_the_prompt_is_that_of_training(project: Any) -> None:
    base = resolve_base(project)
    backend = TransformersBackend("zero_shot", base, project=project)
    tokenizer, options = load_tokenizer(base), template_options(project.training)
    for messages in conversations(project):
        assert backend.prompt_ids(messages) == encode_prompt(tokenizer, messages, options)


def save_adapter(project: Any) -> Path:
    """A LoRA adapter with random weights of some size in models/adapter."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = load_weights(resolve_base(project), dtype=torch.float32, device="cpu")
    torch.manual_seed(1)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(project.paths.adapter)
    return project.paths.adapter


def test_the_adapter_is_applied_and_equals_the_merged_model(project: Any) -> None:
    import torch
    from peft import PeftModel

    folder = save_adapter(project)
    base = resolve_base(project)
    plain = [a.text for a in open_backend(project, "zero_shot").generate(conversations(project), 6)]
    tuned = [a.text for a in open_backend(project, "adapter").generate(conversations(project), 6)]
    assert tuned != plain
    weights = load_weights(base, dtype=torch.float32, device="cpu")
    PeftModel.from_pretrained(weights, folder).merge_and_unload().save_pretrained(project.paths.merged)
    load_tokenizer(base).save_pretrained(project.paths.merged)
    merged = [a.text for a in open_backend(project, "merged").generate(conversations(project), 6)]
    assert merged == tuned


@pytest.mark.parametrize(
    ("artefact", "message"),
    [
        ("adapter", "no adapter in models/adapter. Fix: run scripts/03_train.py first"),
        ("merged", "no merged in models/merged. Fix: run scripts/05_merge_adapter.py first"),
        ("Q8_0", "no Q8_0 in models/gguf/small-task-Q8_0.gguf. Fix: run scripts/06_convert_gguf.py first"),
    ],
)
def test_a_missing_artefact_names_the_step_that_makes_it(
    make_project: Callable[..., Any], artefact: str, message: str
) -> None:
    with pytest.raises(FinetuneError) as caught:
        artefact_path(make_project(), artefact)
    assert message in str(caught.value) and caught.value.exit_code == 2


def test_every_source_of_eos_counts() -> None:
    def with_eos(value: Any) -> Any:
        return SimpleNamespace(eos_token_id=value)

    model = SimpleNamespace(config=with_eos(2), generation_config=with_eos([2, 3]))
    assert eos_ids(model, with_eos(5)) == {2, 3, 5}
    assert eos_ids(SimpleNamespace(config=with_eos(None)), with_eos(None)) == frozenset()


@pytest.fixture
def gguf(project: Any) -> Any:
    """The project with SmolLM2's packaged GGUF where step 06 would put its own."""
    pytest.importorskip("llama_cpp", reason="the export extra is not installed")
    path = gguf_path(project, "Q8_0")
    path.parent.mkdir(parents=True)
    packaged = packaged_file(next(iter(PACKAGED)))
    assert packaged is not None
    path.symlink_to(packaged)
    backend = open_backend(project, "Q8_0")
    yield backend
    backend.close()


def test_llama_cpp_reads_the_prompt_as_transformers_does(gguf: Any, project: Any) -> None:
    from transformers import AutoTokenizer

    file = packaged_file(next(iter(PACKAGED)))
    assert file is not None
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    for messages in conversations(project):
        assert gguf.prompt_ids(messages) == encode_prompt(tokenizer, messages, {})


def test_llama_cpp_answers_greedily_and_the_same_again(gguf: Any, project: Any) -> None:
    questions = [f"What is the capital of {land}? Answer in one word." for land in ("France", "Italy")]
    chat = [[{"role": "user", "content": question}] for question in questions]
    first, second = list(gguf.generate(chat, 24)), list(gguf.generate(chat[::-1], 24))[::-1]
    assert [answer.text for answer in first] == [answer.text for answer in second]
    assert "Paris" in first[0].text and "Rome" in first[1].text
    assert first[0].finished and first[0].tokens < 24 and "<|im_end|>" not in first[0].text
    (cut,) = gguf.generate(chat[:1], 1)
    assert cut.tokens == 1 and not cut.finished


def test_llama_cpp_decodes_tokens_of_any_length(gguf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune.evaluation import llama_worker
    from finetune.evaluation.llama_messages import Load, Tokenise

    monkeypatch.setattr(llama_worker.os, "ftruncate", lambda *_: None)  # here standard error is not the worker's log
    file = str(packaged_file(next(iter(PACKAGED))))
    runner = llama_worker.Runner(Load(file, 64, 1, extra_buffers=False), lambda: None)
    for text in ("a" + " " * 200 + "漢字 and 🙂\n" * 30, " " * 1000 + "漢字"):  # 64 blanks are one token
        assert runner.detokenise(runner.tokenise(Tokenise(text, add_bos=False)).ids) == text
    assert runner.detokenise([]) == ""


def test_a_prompt_beyond_the_context_says_which_setting_to_raise(gguf: Any) -> None:
    with pytest.raises(FinetuneError, match="exceed 768") as caught:
        list(gguf.generate([[{"role": "user", "content": "word " * 900}]], 8))
    assert "raise generation.context in configs/benchmark_config.yaml to" in str(caught.value)


def test_a_damaged_gguf_is_a_model_fault(project: Any) -> None:
    pytest.importorskip("llama_cpp", reason="the export extra is not installed")
    path = gguf_path(project, "f16")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF" + b"\0" * 64)
    with pytest.raises(ModelFault, match=r"llama\.cpp cannot load small-task-f16\.gguf"):
        open_backend(project, "f16")
