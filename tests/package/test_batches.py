"""Shared-prefix, packed and padded batches are the same mathematics."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen3Config, Qwen3ForCausalLM

from finetune.training.batches import Collator, exact_form, loss_sum
from finetune.training.dataset import EncodedRow, shared_prefix_length

SIZES = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TOLERANCE = 1e-5


def make_rows(seed: int, count: int = 7, prefix: int = 40) -> list[EncodedRow]:
    """Rows with a common prefix and prompts and answers of different lengths and weights."""
    rng = random.Random(seed)
    common = [rng.randrange(3, 500) for _ in range(prefix)]
    rows = []
    for index in range(count):
        prompt = common + [rng.randrange(3, 500) for _ in range(rng.randint(1, 15))]
        answer = [rng.randrange(3, 500) for _ in range(rng.randint(1, 6))]
        rows.append(EncodedRow(str(index), (*prompt, *answer), len(prompt), rng.choice([0.5, 1.0, 2.0])))
    return rows


def adapted(architecture: str) -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    if architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16))
    lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)  # else half of the gradients are zero and prove nothing
    return model


def loss_and_gradient(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    model.zero_grad()
    loss = loss_sum(model, batch)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
@pytest.mark.parametrize("form", ["packed", "shared_prefix"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_and_gradients_equal_those_of_padded_batches(architecture: str, form: str, seed: int) -> None:
    model, rows = adapted(architecture), make_rows(seed)
    loss, gradient = loss_and_gradient(model, Collator("padded", 0)(rows))
    other_loss, other_gradient = loss_and_gradient(model, Collator(form, 0)(rows))  # type: ignore[arg-type]
    assert abs(other_loss - loss) / loss <= TOLERANCE
    assert (other_gradient - gradient).norm() / gradient.norm() <= TOLERANCE
    assert gradient.norm() > 1e-3


def test_padded_loss_is_the_models_own_loss() -> None:
    model, rows = adapted("llama"), [EncodedRow(r.id, r.ids, r.prompt_length) for r in make_rows(3)]
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[0] * (width - len(row.ids))] for row in rows])
    labels = torch.full_like(ids, -100)
    for index, row in enumerate(rows):
        labels[index, row.prompt_length : len(row.ids)] = torch.tensor(row.ids[row.prompt_length :])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    expected = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    batch = Collator("padded", 0)(rows)
    assert torch.isclose(loss_sum(model, batch) / batch["labels"].numel(), expected, rtol=1e-5)


def test_a_leak_between_rows_would_be_seen() -> None:
    """The comparison can fail: attention to a neighbour changes the loss by more than the tolerance."""
    model, rows = adapted("llama"), make_rows(0)
    honest = Collator("shared_prefix", 0)(rows)
    length = honest["input_ids"].shape[1]
    leaking = {**honest, "attention_mask": torch.ones(length, length, dtype=torch.bool).tril()[None, None]}
    loss, gradient = loss_and_gradient(model, honest)
    _, leaked = loss_and_gradient(model, leaking)
    assert (leaked - gradient).norm() / gradient.norm() > 100 * TOLERANCE
    assert loss > 0


def test_the_prefix_is_computed_once() -> None:
    rows = make_rows(0)
    prefix = shared_prefix_length(rows)
    assert prefix >= 40
    total = sum(len(row.ids) for row in rows)
    assert Collator("packed", 0)(rows)["input_ids"].shape == (1, total)
    assert Collator("shared_prefix", 0)(rows)["input_ids"].shape == (1, total - prefix * (len(rows) - 1))


def test_identical_prompts_keep_their_own_last_prompt_token() -> None:
    rows = [EncodedRow("a", (1, 2, 3, 7), 3), EncodedRow("b", (1, 2, 3, 7), 3), EncodedRow("c", (1, 2, 3, 8, 9), 3)]
    batch = Collator("shared_prefix", 0)(rows)
    assert shared_prefix_length(rows) == 2
    assert batch["labels"].tolist() == [7, 7, 8, 9]
    assert batch["input_ids"][0, batch["keep"]].tolist() == [3, 3, 3, 8]


def test_a_single_row_is_exact() -> None:
    model, rows = adapted("qwen3"), make_rows(5, count=1)
    loss, gradient = loss_and_gradient(model, Collator("padded", 0)(rows))
    other_loss, other_gradient = loss_and_gradient(model, Collator("shared_prefix", 0)(rows))
    assert torch.isclose(loss, other_loss, rtol=1e-5)
    assert (other_gradient - gradient).norm() / gradient.norm() <= TOLERANCE


def test_a_sliding_window_shorter_than_the_rows_falls_back_to_padding() -> None:
    config = MistralConfig(**SIZES, sliding_window=64)
    config.layer_types = ["sliding_attention"] * 3
    assert exact_form("shared_prefix", config, 64)[0] == "shared_prefix"
    assert exact_form("shared_prefix", config, 65)[0] == "padded"
    assert exact_form("shared_prefix", LlamaConfig(**SIZES), 10**6)[0] == "shared_prefix"
