"""The repository under test: the template's own folder, or a generated one (`make test REPOSITORY=../my-task`)."""

from __future__ import annotations

import os
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("REPOSITORY") or TEMPLATE / "<<cookiecutter.task_name>>").resolve()
SAMPLES = TEMPLATE / "<<cookiecutter.task_name>>" / "data" / "samples"
"""Rows of every task type and language; a generated repository keeps one file of them."""
