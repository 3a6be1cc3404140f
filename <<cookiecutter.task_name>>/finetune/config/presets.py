"""The hardware presets of the questions, and the GPU memory each was chosen for."""

from __future__ import annotations

MEMORY_GB = {"24GB-4B-LoRA": 24, "24GB-8B-QLoRA": 24, "48GB-8B-LoRA": 48, "80GB-14B-LoRA": 80, "CPU-135M-LoRA": 0}
"""GB by preset, 0 without a GPU, as cookiecutter.json has them; the first one is the default."""
