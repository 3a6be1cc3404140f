"""Batched greedy decoding in which the tokens all prompts begin with are computed once.

Every prompt of a task starts with the same template and system prompt, often most of the prompt. Its keys and values
are computed once per run and copied into the cache of every batch; only what differs is fed through the model.
The tokens are those of `model.generate(do_sample=False)` on each prompt alone (test_decoding.py of the template).
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune.memory_faults import is_out_of_memory

SORTED_BATCHES = 8
"""Prompts are sorted by length within this many batches: less padding, and results still come steadily, in order."""


@dataclass
class Decoded:
    """What the model wrote after one prompt."""

    tokens: list[int] = field(default_factory=list)
    """token ids, without the EOS id that ended them"""
    finished: bool = False
    """an EOS id came before the token cap"""
    log_probability: float = 0.0
    """sum over the written tokens, EOS included: the model's confidence in the whole answer"""
    seconds: float = 0.0
    """this prompt's share of its batch's wall time"""

    @property
    def confidence(self) -> float:
        return math.exp(min(self.log_probability, 0.0))


def shared_prefix(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The token ids all prompts begin with, at least one token short of the shortest prompt (its logits are needed)."""
    if not prompts or not min(map(len, prompts)):
        raise ValueError("decoding needs at least one prompt, and no empty one")
    first, last = min(map(list, prompts)), max(map(list, prompts))  # in sorted order the extremes share the least
    limit = min(map(len, prompts)) - 1
    length = next((i for i in range(limit) if first[i] != last[i]), limit)
    return first[:length]


def greedy_decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    eos_ids: Collection[int],
    max_new_tokens: int,
    batch_size: int,
    kept: KeptPrefix | None = None,
) -> Iterator[Decoded]:
    """Decode every prompt greedily; results come in the order of `prompts`.

    `model` is a causal language model of transformers (or PEFT) in eval mode; `kept` spares the next call with the same
    prefix its computation, and changes no bit of any result. When a batch does not fit into the
    device's memory, the batch size is halved for the rest of the run; when one prompt does not fit, the device's own
    error is raised.
    """
    if not prompts:
        return
    prefix = shared_prefix(prompts) if _shares(model) else []
    cached = (kept or KeptPrefix()).of(model, prefix)
    size = max(1, batch_size)
    start = 0
    while start < len(prompts):
        window = range(start, min(start + size * SORTED_BATCHES, len(prompts)))
        # Longest first: what does not fit fails at once, not after an hour.
        pending = sorted(window, key=lambda index: -len(prompts[index]))
        results: dict[int, Decoded] = {}
        while pending:
            batch = pending[:size]
            try:
                decoded = _decode_batch(
                    model, [prompts[i][len(prefix) :] for i in batch], len(prefix), cached, eos_ids, max_new_tokens
                )
            except (RuntimeError, MemoryError) as failure:
                if size == 1 or not is_out_of_memory(failure):
                    raise
                size //= 2
            else:
                results.update(zip(batch, decoded, strict=True))
                pending = pending[len(batch) :]
                continue
            free_memory()  # outside of the handler: the traceback holds the batch's tensors
        yield from (results[index] for index in window)
        start = window.stop


class KeptPrefix:
    """Keys and values of the last prefix, for a caller who decodes one window of prompts after another."""

    def __init__(self) -> None:
        self._prefix: list[int] | None = None
        self._cached: list[tuple[Any, Any]] = []

    def of(self, model: Any, prefix: list[int]) -> list[tuple[Any, Any]]:
        """Per layer (keys, values) of `prefix`, computed only where it is not the one that `model` had last."""
        if prefix != self._prefix:
            self._cached, self._prefix = _prefill(model, prefix), list(prefix)
        return self._cached


def _shares(model: Any) -> bool:
    """A cached prefix is exact only where every layer attends to all tokens (no sliding window, no recurrent state)."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def _prefill(model: Any, prefix: list[int]) -> list[tuple[Any, Any]]:
    """Keys and values of the prefix per layer, each (1, key/value heads, tokens, head size)."""
    import torch
    from transformers import DynamicCache

    if not prefix:
        return []
    cache: Any = DynamicCache(config=model.config)
    with torch.inference_mode():
        ids = torch.tensor([prefix], device=model.device)
        model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return [(layer.keys, layer.values) for layer in cache.layers]


def _decode_batch(
    model: Any,
    rests: list[Sequence[int]],
    prefix_length: int,
    cached: list[tuple[Any, Any]],
    eos_ids: Collection[int],
    max_new_tokens: int,
) -> list[Decoded]:
    """Decode what follows the prefix: left-padded between prefix and rest, so the newest token of all rows is last."""
    import torch
    from transformers import DynamicCache

    began = time.perf_counter()
    rows, width, device = len(rests), max(map(len, rests)), model.device
    ids = torch.zeros((rows, width), dtype=torch.long)
    mask = torch.zeros((rows, prefix_length + width), dtype=torch.long)
    mask[:, :prefix_length] = 1
    for row, rest in enumerate(rests):
        ids[row, width - len(rest) :] = torch.tensor(list(rest))
        mask[row, prefix_length + width - len(rest) :] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, prefix_length:]
    ids, mask, positions = ids.to(device), mask.to(device), positions.to(device)
    results = [Decoded() for _ in rests]
    alive = list(range(rows))
    with torch.inference_mode():
        if cached:
            cache = DynamicCache([(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in cached])
        else:
            cache = DynamicCache(config=model.config)
        for _ in range(max_new_tokens):
            logits = (
                model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                .logits[:, -1]
                .float()
            )
            best, token_ids = logits.max(-1)
            chances = (best - logits.logsumexp(-1)).tolist()
            going = []
            for place, (row, token, chance) in enumerate(zip(alive, token_ids.tolist(), chances, strict=True)):
                results[row].log_probability += chance
                if token in eos_ids:
                    results[row].finished = True
                else:
                    results[row].tokens.append(token)
                    going.append(place)
            if not going:
                break
            if len(going) < len(alive):  # finished rows leave the batch, the others get faster
                keep = torch.tensor(going, device=device)
                cache.batch_select_indices(keep)
                token_ids, mask, positions = token_ids[keep], mask[keep], positions[keep]
                alive = [alive[place] for place in going]
            ids = token_ids[:, None]
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=-1)
            positions = positions[:, -1:] + 1
    for result in results:
        result.seconds = (time.perf_counter() - began) / rows
    return results


def free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
