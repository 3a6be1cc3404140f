"""What the steps leave behind, made small: an adapter of two bytes, an oracle for a model, exports without weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from finetune import provenance
from finetune.config.project import Project
from finetune.data.chat_format import completion_text, system_text
from finetune.data.stage import convert, validate
from finetune.errors import OK
from finetune.evaluation.completions import Completion
from finetune.evidence.checklist import Result, Ticks, evaluate, load_checklist
from finetune.evidence.facts import Facts
from reports import rewrite, row


def decide(project: Project, ticks: Ticks | None = None) -> dict[str, Result]:
    return evaluate(load_checklist(), Facts(project.paths.root), ticks or Ticks())


def statuses(results: dict[str, Result], phase: int) -> dict[str, str]:
    return {id: result.finding.status for id, result in results.items() if id.startswith(f"{phase}.")}


def with_data(project: Project) -> Project:
    assert validate(project) == OK and convert(project) == OK
    return project


def losses(*values: float) -> list[dict[str, float]]:
    """A training log that falls through `values`, with a validation loss that follows."""
    log: list[dict[str, float]] = []
    for step, value in enumerate(values, 1):
        log.append({"step": step, "epoch": step / 2, "loss": value, "grad_norm": 1.0, "learning_rate": 1e-3})
    return [*log, {"step": 2, "eval_loss": values[-1] + 0.02}, {"step": len(values), "eval_loss": values[-1] + 0.01}]


def with_adapter(
    project: Project, log: list[dict[str, float]] | None = None, recovered: list[dict[str, Any]] | None = None
) -> Project:
    """An adapter folder as step 03 leaves it, its weights two bytes."""
    base = project.paths.base / "tiny"
    base.mkdir(parents=True, exist_ok=True)
    (base / "config.json").write_text("{}", encoding="utf-8")
    log = losses(2.0, 1.5, 1.2, 1.0, 0.9) if log is None else log
    folder, lora = project.paths.adapter, project.training.lora
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(b"\1\2")
    (folder / "adapter_config.json").write_text(
        json.dumps({"r": lora.r, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "target_modules": ["q_proj"]}),
        encoding="utf-8",
    )
    (folder / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
    train, valid = (provenance.sha256(path) for path in (project.paths.train, project.paths.valid))
    evaluations = [row["eval_loss"] for row in log if "eval_loss" in row]
    facts = {
        "base": {
            "id": project.training.base_model.id, "revision": "sha256:0", "source": "local",
            "fingerprint": provenance.tree_digest(base),
        },
        "data": {"train_sha256": train, "valid_sha256": valid},
        "config": project.training.model_dump(mode="json"),
        "resolved": {"device": "cpu", "dtype": "float32"},
        "environment": {"python": "3.11.9", "packages": {"torch": "2.13.0+cpu"}},
        "result": {
            "steps": 5, "seconds": 1.0, "final_loss": 0.9, "best_eval_loss": min(evaluations),
            "recovered": recovered or [], "findings": [],
        },
    }  # fmt: skip
    outputs = [path for path in sorted(folder.iterdir()) if path.name != provenance.MANIFEST]
    inputs = {"train": train, "valid": valid}
    manifest = folder / provenance.MANIFEST
    provenance.write_manifest(manifest, step="03_train", inputs=inputs, outputs=outputs, facts=facts)
    (project.paths.root / "constraints.txt").write_text("torch==2.13.0\n", encoding="utf-8")
    return project


class Oracle:
    """A backend that knows the test set's answers and gives the first `wrong` rows another one."""

    name = "adapter"

    def __init__(self, project: Project, wrong: int) -> None:
        lines = project.paths.test.read_text(encoding="utf-8").splitlines()
        self.answers = [completion_text(project.task, json.loads(line)["reference"]) for line in lines]
        names = project.task.label_names
        for index in range(wrong):
            self.answers[index] = names[(names.index(self.answers[index]) + 1) % len(names)]

    def generate(self, conversations: Any, max_new_tokens: int) -> Iterator[Completion]:
        for answer, _ in zip(self.answers, conversations, strict=True):
            yield Completion(answer, 3, 0.01, True)

    def close(self) -> None:
        pass


def with_exports(project: Project, rows: dict[str, dict[str, Any]] | None = None) -> Project:
    """Merged model and GGUF folders as steps 05 and 06 leave them, and the rows of step 07."""
    paths, name = project.paths, project.task.task_name
    settings = (
        "temperature 0",
        f"num_ctx {project.benchmark.generation.context}",
        f"num_predict {project.task.output.max_new_tokens}",
        "stop x",
    )
    modelfile = "".join(["FROM x\n", *(f"PARAMETER {setting}\n" for setting in settings)]).encode()
    for folder, files, inputs in (
        (paths.merged, {"model.safetensors": b"\3"}, {"adapter": provenance.tree_digest(paths.adapter)}),
        (
            paths.gguf,
            {f"{name}-{kind}.gguf": b"GGUF" + kind.encode() for kind in project.benchmark.quantisations}
            | {"template": b"t", "system": system_text(project.task).encode(), "params": b"{}", "Modelfile": modelfile},
            {},
        ),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        outputs = [folder / file for file in files]
        if folder == paths.gguf:
            merged = provenance.read_manifest(paths.merged / provenance.MANIFEST)
            assert merged
            inputs = {"merged": merged.outputs_digest}
        manifest = folder / provenance.MANIFEST
        provenance.write_manifest(manifest, step=folder.name, inputs=inputs, outputs=outputs, facts={})

    def measured(values: dict[str, Any]) -> None:
        fine = {"value": values["primary"]["value"], "difference": 0.0, "tolerance": 1.0, "tokens_equal": True}
        values["artefacts"] = [
            row(artefact, **fine | {"tokens_per_s": 9.0} | (rows or {}).get(artefact, {}))
            for artefact in ("merged", *project.benchmark.quantisations)
        ]
        values["artefacts"] += [row(served, file=None, status="open", passed=None) for served in ("vLLM", "Ollama")]

    rewrite(project, measured)
    return project


def write_receipts(project: Project) -> None:
    hub, repositories = project.task.hub, []
    for kind in ("adapter", "gguf", "merged"):
        manifest = provenance.read_manifest(getattr(project.paths, kind) / provenance.MANIFEST)
        assert manifest
        files = {**manifest.model_dump()["outputs"], "README.md": {"bytes": 1, "sha256": "0" * 64}}
        receipt = {
            "kind": kind,
            "repo": getattr(hub, kind),
            "commit": "a" * 40,
            "tag": "v1.0.0",
            "url": "",
            "files": files,
        }
        repositories.append(receipt)
    release = {"version": "1.0.0", "tag": "v1.0.0", "digest": "", "endpoint": "https://hub.test"}
    provenance.write_json(project.paths.publish_plan / "receipts.json", {**release, "repositories": repositories})
