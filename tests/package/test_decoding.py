"""Shared-prefix batches write the tokens that model.generate writes for each prompt alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from finetune.evaluation.decoding import greedy_decode, shared_prefix

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "eos_token_id": 7,
    "bos_token_id": 1,
    "pad_token_id": 0,
}
EOS = frozenset((7, *range(275, 300)))
CAP = 12


def tiny(kind: str) -> Any:
    torch.manual_seed(0)
    model: Any
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    elif kind == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=32))
    else:
        layers = ["sliding_attention", "full_attention"]
        model = Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, head_dim=16, sliding_window=8, layer_types=layers))
    for parameter in model.parameters():
        if parameter.dim() > 1:  # larger weights than the default: answers that depend on the prompt
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def prompts(common: int, count: int = 23) -> list[list[int]]:
    chance = random.Random(common)
    head = [chance.randrange(8, 300) for _ in range(common)]
    return [head + [chance.randrange(8, 300) for _ in range(chance.randrange(1, 15))] for _ in range(count)]


def alone(model: Any, prompt: list[int]) -> tuple[list[int], bool]:
    ids = torch.tensor([prompt])
    written = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=CAP, do_sample=False, eos_token_id=sorted(EOS)
    )[0, len(prompt) :].tolist()
    return (written[:-1], True) if written[-1] in EOS else (written, False)


@pytest.mark.parametrize("common", [0, 20])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3 with a sliding window"])
def test_tokens_are_those_of_generate(kind: str, common: int) -> None:
    model, batch = tiny(kind), prompts(common)
    wanted = [alone(model, prompt) for prompt in batch]
    decoded = list(greedy_decode(model, batch, eos_ids=EOS, max_new_tokens=CAP, batch_size=4))
    assert [(one.tokens, one.finished) for one in decoded] == wanted
    assert {finished for _, finished in wanted} == {True, False}, "needs answers of both kinds"


def test_more_than_one_window_of_sorted_batches_keeps_the_order() -> None:
    model, batch = tiny("llama"), prompts(10, count=20)
    one_by_one = [d.tokens for d in greedy_decode(model, batch, eos_ids=EOS, max_new_tokens=4, batch_size=1)]
    in_pairs = [d.tokens for d in greedy_decode(model, batch, eos_ids=EOS, max_new_tokens=4, batch_size=2)]
    assert one_by_one == in_pairs


def test_the_prefix_goes_through_the_model_once() -> None:
    model, batch, seen = tiny("llama"), prompts(40, count=9), []
    model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True)
    list(greedy_decode(model, batch, eos_ids=EOS, max_new_tokens=1, batch_size=3))
    assert seen[0] == 40 and len(seen) == 4
    assert max(seen[1:]) <= 3 * 14


def test_confidence_is_the_probability_of_the_answer() -> None:
    model, prompt = tiny("llama"), prompts(5, count=1)[0]
    (decoded,) = greedy_decode(model, [prompt], eos_ids=(), max_new_tokens=3, batch_size=1)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt + decoded.tokens])).logits[0].log_softmax(-1)
    steps = range(len(prompt) - 1, len(prompt) + 2)
    chance = sum(logits[step, token] for step, token in zip(steps, decoded.tokens, strict=True)).exp()
    assert decoded.confidence == pytest.approx(float(chance), rel=1e-4)


def test_a_batch_that_does_not_fit_is_halved() -> None:
    model, batch = tiny("llama"), prompts(10, count=11)
    wanted = [d.tokens for d in greedy_decode(model, batch, eos_ids=EOS, max_new_tokens=3, batch_size=8)]

    def small_device(_: Any, args: Any, kwargs: Any) -> None:
        if kwargs["input_ids"].shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.register_forward_pre_hook(small_device, with_kwargs=True)
    assert [d.tokens for d in greedy_decode(model, batch, eos_ids=EOS, max_new_tokens=3, batch_size=8)] == wanted


def test_other_errors_and_a_single_prompt_that_does_not_fit_are_raised() -> None:
    model, batch = tiny("llama"), prompts(10, count=4)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        list(greedy_decode(model, batch, eos_ids=EOS, max_new_tokens=3, batch_size=4))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([[1, 2, 3], [1, 2, 4]], [1, 2]),
        ([[1, 2, 3]], [1, 2]),
        ([[1, 2], [1, 2, 3]], [1]),
        ([[5], [5]], []),
        ([[1, 9], [2, 9]], []),
    ],
)
def test_the_prefix_leaves_every_prompt_a_token(given: list[list[int]], wanted: list[int]) -> None:
    assert shared_prefix(given) == wanted


def test_no_prompts_give_no_answers_and_an_empty_prompt_is_refused() -> None:
    assert list(greedy_decode(None, [], eos_ids=EOS, max_new_tokens=3, batch_size=2)) == []
    with pytest.raises(ValueError, match="no empty one"):
        shared_prefix([[1], []])
