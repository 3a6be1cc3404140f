"""Rows → one model input, in three exact forms: padded, packed, and packed with the shared prefix computed once.

All three yield the same loss and gradients; they differ in how many tokens the model computes. In the shared-prefix
form a batch is one sequence `[prefix][rest of row 1]…[rest of row k]`: each row attends to the prefix and to itself,
its positions continue from the prefix, and logits exist only where there is a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetune.training.dataset import EncodedRow, shared_prefix_length

if TYPE_CHECKING:
    import torch

Batching = Literal["shared_prefix", "packed", "padded"]


@dataclass(frozen=True)
class Collator:
    """Turns rows into model inputs.

    The result holds, with B sequences of L tokens and N answer tokens in all:
    input_ids (B, L) and position_ids (B, L) int64; attention_mask, bool (1, 1, L, L) when packed (True = may attend)
    or int64 (B, L) when padded; keep (K,) int64, the columns whose logits are needed; picks (N,) int64, the places
    in the flattened (B, K) logits; labels (N,) int64, the target token of each; weights (N,) float32.
    """

    batching: Batching
    pad_id: int

    def __call__(self, rows: Sequence[Any]) -> dict[str, torch.Tensor]:
        encoded = [row if isinstance(row, EncodedRow) else _from_columns(row) for row in rows]
        if self.batching == "padded":
            return padded(encoded, self.pad_id)
        return packed(encoded, shared_prefix_length(encoded) if self.batching == "shared_prefix" else 0)


def _from_columns(row: dict[str, Any]) -> EncodedRow:
    return EncodedRow("", tuple(row["input_ids"]), row["prompt_length"], row["weight"])


def packed(rows: Sequence[EncodedRow], prefix: int) -> dict[str, torch.Tensor]:
    """One sequence of all rows; the first `prefix` tokens, equal in all of them, stand once in front."""
    import torch

    ids = list(rows[0].ids[:prefix])
    positions = list(range(prefix))
    segments = [0] * prefix
    keep: list[int] = []
    labels: list[int] = []
    weights: list[float] = []
    for number, row in enumerate(rows, 1):
        start = len(ids) - prefix
        ids += row.ids[prefix:]
        positions += range(prefix, len(row.ids))
        segments += [number] * (len(row.ids) - prefix)
        # The token before an answer token predicts it.
        keep += range(start + row.prompt_length - 1, start + len(row.ids) - 1)
        labels += row.ids[row.prompt_length :]
        weights += [row.weight] * (len(row.ids) - row.prompt_length)
    segment = torch.tensor(segments)
    order = torch.arange(len(ids))
    own = (segment[None, :] == segment[:, None]) | (segment[None, :] == 0)
    visible = (order[None, :] <= order[:, None]) & own
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "attention_mask": visible[None, None],
        "keep": torch.tensor(keep),
        "picks": torch.arange(len(keep)),
        "labels": torch.tensor(labels),
        "weights": torch.tensor(weights),
    }


def padded(rows: Sequence[EncodedRow], pad_id: int) -> dict[str, torch.Tensor]:
    """One sequence a row, padded on the right to the longest."""
    import torch

    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[pad_id] * (width - len(row.ids))] for row in rows])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    columns = sorted({column for row in rows for column in range(row.prompt_length - 1, len(row.ids) - 1)})
    place = {column: index for index, column in enumerate(columns)}
    picks: list[int] = []
    labels: list[int] = []
    weights: list[float] = []
    for number, row in enumerate(rows):
        picks += [number * len(columns) + place[c] for c in range(row.prompt_length - 1, len(row.ids) - 1)]
        labels += row.ids[row.prompt_length :]
        weights += [row.weight] * (len(row.ids) - row.prompt_length)
    return {
        "input_ids": ids,
        "position_ids": torch.arange(width).expand(len(rows), -1),
        "attention_mask": mask,
        "keep": torch.tensor(columns),
        "picks": torch.tensor(picks),
        "labels": torch.tensor(labels),
        "weights": torch.tensor(weights),
    }


def loss_sum(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted negative log-likelihood summed over the batch's N answer tokens, in float32.

    Divide by the number of answer tokens of the optimiser step. `logits_to_keep` limits the head to K columns.
    """
    import torch.nn.functional as F

    logits = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        attention_mask=batch["attention_mask"],
        logits_to_keep=batch["keep"],
        use_cache=False,
    ).logits
    flat = logits.flatten(0, 1)[batch["picks"]].float()
    return (F.cross_entropy(flat, batch["labels"], reduction="none") * batch["weights"]).sum()


def exact_form(wanted: Batching, config: Any, max_length: int) -> tuple[Batching, str]:
    """The form used for a model with `config`, and why.

    A packed batch gives all layers one mask. That is exact while no row is longer than a layer's sliding window;
    beyond it, and for models with recurrent layers, only padded batches are.
    """
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if wanted == "padded" or kinds == {"full_attention"}:
        return wanted, "configured"
    window = getattr(text, "sliding_window", None)
    if kinds <= {"full_attention", "sliding_attention"} and (window is None or max_length <= window):
        return wanted, f"configured; rows fit the sliding window of {window}"
    return "padded", f"{wanted} would not be exact for layers {', '.join(sorted(kinds))}"
