"""Read a GGUF file back: is it what was asked for, and does it carry the base model's own chat template?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import ModelFault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE_KEY = "tokenizer.chat_template"
_FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class GgufFacts:
    """What a GGUF file says about itself."""

    architecture: str
    file_type: int
    template: bytes | None
    eos_id: int | None
    elements: Counter[str]
    """Number of weights by tensor type, e.g. {"Q8_0": 134000000, "F32": 35000}."""

    @property
    def quantised_share(self) -> float:
        total = sum(self.elements.values())
        return sum(count for kind, count in self.elements.items() if kind not in _FLOATS) / max(total, 1)


def read_facts(path: Path) -> GgufFacts:
    """Header and tensor list of `path`; ModelFault (E774) when it is no complete GGUF file."""
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        elements: Counter[str] = Counter()
        for tensor in reader.tensors:
            elements[tensor.tensor_type.name] += int(tensor.n_elements)
        template = reader.get_field(TEMPLATE_KEY)
        return GgufFacts(
            architecture=str(_value(reader, "general.architecture")),
            file_type=int(_value(reader, "general.file_type")),
            template=bytes(template.parts[template.data[0]]) if template else None,
            eos_id=_value(reader, "tokenizer.ggml.eos_token_id"),
            elements=elements,
        )
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as failure:
        raise ModelFault(
            f"{path.name} is no complete GGUF file ({failure})", "run scripts/06_convert_gguf.py --force", "E774"
        ) from failure


def _value(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()


def template_of(tokenizer: PreTrainedTokenizerBase) -> bytes:
    """The chat template in force, as bytes; the default one where a tokenizer names several."""
    template = tokenizer.chat_template
    return (template["default"] if isinstance(template, dict) else template).encode("utf-8")


def check_gguf(path: Path, *, quantisation: str, template: bytes, eos_ids: Collection[int], shown: str) -> GgufFacts:
    """Refuse a file whose template, end token or quantisation is not the expected one (ModelFault E775, E776).

    A template that differs by one byte changes what the model is told: it is the way a poisoned GGUF misbehaves.
    """
    import gguf

    facts = read_facts(path)
    redo = "run scripts/06_convert_gguf.py --force"
    if facts.template != template:
        raise ModelFault(f"the chat template in {shown} is not the base model's", redo, "E775")
    name = "ALL_F32" if quantisation == "f32" else f"MOSTLY_{quantisation.upper()}"
    wanted = gguf.LlamaFileType[name].value
    wrong = []
    if facts.file_type != wanted:
        wrong.append(f"file type {facts.file_type} instead of {wanted}")
    if facts.eos_id not in eos_ids:
        wrong.append(f"end token {facts.eos_id} instead of one of {sorted(eos_ids)}")
    if quantisation.upper() in _FLOATS and facts.quantised_share > 0:
        wrong.append("quantised tensors in a file of plain floats")
    if quantisation.upper() not in _FLOATS and facts.quantised_share < 0.5:
        wrong.append(f"only {facts.quantised_share:.0%} of the weights are quantised")
    if wrong:
        raise ModelFault(f"{shown}: {'; '.join(wrong)}", redo, "E776")
    return facts
