"""A Python package that carries a GGUF of one megabyte, where a real one carries SmolLM2's 135 million weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from finetune.evaluation.tiny_gguf import write_tiny_gguf
from finetune.training.base_model import PACKAGED

SMOL = next(iter(PACKAGED))
NAME = "package_of_a_tiny_model"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the package into `folder`, from where it can be imported, and let it carry SMOL."""
    (folder / NAME).mkdir(parents=True)
    (folder / NAME / "__init__.py").touch()
    write_tiny_gguf(folder / NAME / "model.gguf")
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(PACKAGED, SMOL, (NAME, "model.gguf"))
