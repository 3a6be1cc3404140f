"""A complete small repository in a temporary folder, with a tiny random Llama that speaks the real tokenizer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import native_shim
from repository import ROOT, TEMPLATE
from tiny_model import write_tiny_model

sys.path.insert(0, str(ROOT))

from finetune.interrupts import SIGNALS
from github_fake import GitHubFake

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["FINETUNE_LANG"] = "en"  # whatever the repository's own task speaks
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A job in the background ignores Ctrl-C, one of nohup SIGHUP, and what they start inherits that; terminals do not.
for number in SIGNALS:
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

TOPICS = {
    "billing": ("invoice", "charge", "refund"),
    "shipping": ("parcel", "courier", "delay"),
    "account": ("login", "password", "profile"),
}
OUTPUTS = {
    "classification": {
        "field": "label",
        "labels": [{"name": name, "description": f"about {name} matters"} for name in TOPICS],
        "max_new_tokens": 8,
        "example": "billing",
    },
    "extraction": {
        "field": "entities",
        "entity_types": [
            {"name": "product", "description": "a product"},
            {"name": "quantity", "description": "how many"},
        ],
        "max_new_tokens": 64,
        "example": '{"entities":[]}',
    },
    "generation": {"field": "output", "max_new_tokens": 24, "example": "Thank you."},
}
METRIC = {"classification": "macro_f1", "extraction": "entity_f1", "generation": "rouge_l"}
PROMPTS = {
    "classification": "Sort the message. Answer with one label.\n{labels}",
    "extraction": "List the order facts as JSON.\n{entity_types}",
    "generation": "Answer the customer.",
}


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """A step that was interrupted ignores signals to the end of its process, which here is the test's."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`dying("decode", CRASH)`: from now on llama.cpp's process dies so; returns the file that will hold its id."""

    def prepare(call: str, how: str, **options: Any) -> Path:
        monkeypatch.setenv("PYTHONPATH", native_shim.write(tmp_path / "shim", call, how, **options))
        return tmp_path / "shim" / "mark"

    return prepare


def raw_rows(task_type: str, count: int = 60) -> list[dict[str, Any]]:
    """`count` distinct records of a task type; plain enough to read, varied enough to split."""
    rows = []
    for index in range(count):
        label = list(TOPICS)[index % 3]
        word = TOPICS[label][index // 3 % 3]
        text = f"case {index}: the {word} of order {index * 37 % 1009} is not right"
        if task_type == "classification":
            rows.append({"input": text, "label": label})
        elif task_type == "extraction":
            entities = [{"type": "quantity", "text": str(index + 2)}, {"type": "product", "text": word}]
            rows.append({"input": f"please send {index + 2} of the {word}", "entities": entities})
        else:
            rows.append({"input": text, "output": f"Thank you, the {word} of case {index} is being checked."})
    return rows


def task_values(task_type: str, language: str = "en") -> dict[str, Any]:
    return {
        "version": 1,
        "task_name": "small-task",
        "task_type": task_type,
        "description": "A small task for tests",
        "language": language,
        "license": "apache-2.0",
        "input": {"description": "a message", "max_chars": 400, "example": "where is my parcel"},
        "output": {"description": "the answer", **OUTPUTS[task_type]},
        "system_prompt": PROMPTS[task_type],
        "metrics": {"primary": METRIC[task_type], "threshold": 0.8},
        "data": {"expected_rows": 60, "min_rows_per_class": 5},
        "resources": {"preset": "CPU-135M-LoRA", "gpu_memory_gb": 0},
        "hub": {
            "namespace": "acme",
            "adapter": "acme/small-task-lora",
            "gguf": "acme/small-task-gguf",
            "merged": "acme/small-task",
        },
    }


def training_values() -> dict[str, Any]:
    return {
        "version": 1,
        "base_model": {"id": "models/base/tiny", "revision": "0" * 40, "license": "apache-2.0"},
        "method": "lora",
        "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
        "optimiser": {"learning_rate": 0.01, "epochs": 2},
        "batch": {"per_device": 4, "effective": 8},
        "max_length": 512,
        "precision": "fp32",
        "device": "cpu",
        "checks": {"learning_rate": [0.0001, 0.1], "epochs": [1, 10]},
    }


def benchmark_values() -> dict[str, Any]:
    return {
        "version": 1,
        "splits": {"train": 0.6, "valid": 0.2, "test": 0.2},
        "bootstrap": {"samples": 100},
        "quantisations": ["f16", "Q8_0"],
        "tolerances": {"merged": 1.0, "f16": 1.0, "Q8_0": 1.0},
        "generation": {"batch_size": 8, "context": 768},
    }


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama (hidden 64, 2 layers) with SmolLM2's tokenizer and chat template."""
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def make_project(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`make_project("extraction", rows=…, task={…}, training={…}, benchmark={…}, base=True)` → a loaded Project."""
    from finetune.config.loading import merge
    from finetune.config.project import load_project

    def make(
        task_type: str = "classification",
        *,
        language: str = "en",
        rows: list[dict[str, Any]] | None = None,
        task: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
        benchmark: dict[str, Any] | None = None,
        base: bool = False,
        root: Path | None = None,
    ) -> Any:
        root = root or tmp_path / "repository"
        files = {
            "task_definition.yaml": merge(task_values(task_type, language), task or {}),
            "configs/training_config.yaml": merge(training_values(), training or {}),
            "configs/benchmark_config.yaml": merge(benchmark_values(), benchmark or {}),
        }
        for name, values in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
        raw = root / "data" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in (raw_rows(task_type) if rows is None else rows)]
        (raw / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
        if base:
            shutil.copytree(request.getfixturevalue("tiny_base"), root / "models" / "base" / "tiny")
        return load_project(root)

    return make


@pytest.fixture
def llama_cpp_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp's converter is at hand: LLAMA_CPP_DIR or LLM_FT_TOOLS where set, else fetched as `make test` does."""
    from finetune.errors import StorageFault
    from finetune.export.llama_cpp_source import install

    if "LLAMA_CPP_DIR" in os.environ or "LLM_FT_TOOLS" in os.environ:
        return
    tools = TEMPLATE / "build" / "tools"
    monkeypatch.setenv("LLM_FT_TOOLS", str(tools))
    try:
        install(tools)
    except StorageFault as fault:
        if "CI" in os.environ:
            raise
        pytest.skip(f"needs the package index once: {fault.message}")


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubFake]:
    """A GitHub without anything in it, asked again at once."""
    monkeypatch.setenv("LLM_FT_BACKOFF", "0.001")
    with GitHubFake() as fake:
        yield fake


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client of GitHub would have waited."""
    found: list[float] = []
    monkeypatch.setattr("finetune.github.client.api.pause", found.append)
    return found
