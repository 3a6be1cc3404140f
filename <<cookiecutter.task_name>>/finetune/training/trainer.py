"""Step 03: chat records and a base model → models/adapter/, with everything that produced it in its manifest."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetune import provenance
from finetune.config.project import Project
from finetune.console import resolved, say
from finetune.data.manifest import DataFacts
from finetune.data.stage import require_current
from finetune.errors import OK, FinetuneError, Interrupted
from finetune.interrupts import STARTS_OVER, advice, listening, rerun
from finetune.training import checkpoints
from finetune.training.adapter import CONFIG, RecordedBase, is_trained, run_inputs, write_plain_config
from finetune.training.base_model import (
    BaseModel,
    load_tokenizer,
    load_weights,
    quantisation,
    quiet,
    require_whole_base,
    resolve_base,
    resolve_device,
)
from finetune.training.batches import Collator, exact_form
from finetune.training.dataset import check_stop_token, load_rows, shared_prefix_length
from finetune.training.diagnosis import Diagnosis, diagnose
from finetune.training.preflight import preflight, require_device
from finetune.training.recovery import Recovery, with_recovery

if TYPE_CHECKING:
    import torch
    from transformers import TrainerState

LOG = "training_log.jsonl"
STEP = "03_train"


def _after_interruption(project: Project) -> str:
    step = checkpoints.resumption(project.paths.checkpoints)
    return STARTS_OVER if step is None else f"it resumes after step {step}"


@rerun(_after_interruption)
def train(project: Project, force: bool = False, restart: bool = False) -> int:
    """Train the adapter, or resume, or say that it is up to date.

    `restart` discards the checkpoints of an interrupted run. Raises FinetuneError (2) for missing or changed input,
    ModelFault (70) for divergence or memory that never suffices, Interrupted (75) after a signal.
    """
    data = require_current(project).facts
    require_device(project, resolve_device(project.training)[0])
    base = resolve_base(project)
    require_whole_base(base)
    inputs = run_inputs(project, base, data)
    checkpoints.sweep(project.paths.checkpoints)
    unfinished = checkpoints.resumption(project.paths.checkpoints, inputs) is not None
    if not force and not unfinished and is_trained(project, inputs):
        say(f"{project.paths.relative(project.paths.adapter)} is up to date")
        return OK
    if force or restart:
        checkpoints.discard(project.paths.checkpoints)
    Run(project, base, data, inputs, partial(advice, train, project, {"force": force, "restart": restart})).execute()
    return OK


@dataclass(frozen=True)
class RunResult:
    """What a finished run came to, for its manifest."""

    steps: int
    seconds: float
    samples_per_s: float
    final_loss: float | None
    best_eval_loss: float | None
    resumed_from_step: int | None
    recovered: list[Recovery]
    findings: list[Diagnosis]


class Run:
    """One training run: encode, check, fit with recovery, save."""

    def __init__(
        self, project: Project, base: BaseModel, data: DataFacts, inputs: dict[str, str], again: Callable[[], str]
    ) -> None:
        self.project, self.base, self.data, self.inputs, self.again = project, base, data, inputs, again
        self.config = project.training
        self.device, self.dtype, self.reason = resolve_device(self.config)
        wanted = self.config.gradient_checkpointing
        self.checkpointing = self.device == "cuda" if wanted is None else wanted
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.is_main = int(os.environ.get("RANK", "0")) == 0

    def execute(self) -> None:
        quiet()
        self._encode()
        longest = max(len(row.ids) for row in self.train_rows)
        prefix = shared_prefix_length(self.train_rows)
        micro = min(self.config.batch.per_device, max(self.config.batch.effective // self.processes, 1))
        shared = self.config.batch.batching == "shared_prefix"
        tokens = prefix + micro * (longest - prefix) if shared else micro * longest
        preflight(
            self.project,
            self.base,
            device=self.device,
            dtype=self.dtype,
            reason=self.reason,
            tokens=tokens,
            checkpointing=self.checkpointing,
        )
        total = sum(len(row.ids) for row in self.train_rows)
        share = 100 * prefix * len(self.train_rows) / total
        resolved("shared prefix", f"{prefix} tokens", f"{share:.0f} % of all {total} training tokens")
        started = time.monotonic()
        self.resumed_from: int | None = None
        trainer, recovered = with_recovery(self._attempt, micro, self.config.batch.effective)
        if self.is_main:
            self._save(trainer, recovered, time.monotonic() - started)

    def _encode(self) -> None:
        from transformers import GenerationConfig

        self.tokenizer = load_tokenizer(self.base)
        paths, weights = self.project.paths, self.data.balance.class_weights
        self.train_rows = load_rows(paths.train, self.project, self.tokenizer, weights)
        self.valid_rows = load_rows(paths.valid, self.project, self.tokenizer)
        stops = {self.tokenizer.eos_token_id}
        if (self.base.path / "generation_config.json").is_file():
            ids = GenerationConfig.from_pretrained(self.base.path).eos_token_id
            stops |= set(ids if isinstance(ids, list) else [ids]) - {None}
        for path, rows in ((paths.train, self.train_rows), (paths.valid, self.valid_rows)):
            check_stop_token(rows, stops, paths.relative(path))

    def _attempt(self, micro: int) -> Any:
        """Fit with `micro` rows in a forward pass, from the newest complete checkpoint."""
        from finetune.training.callbacks import Preemption

        # A checkpoint of another micro-batch resumes too: the effective batch, and so the data order, is the same.
        checkpoint = checkpoints.newest_complete(self.project.paths.checkpoints, self.inputs)
        if checkpoint:
            self.resumed_from = checkpoints.step_of(checkpoint)
            say(f"resuming after step {self.resumed_from}")
        preemption = Preemption()
        trainer = self._trainer(micro, preemption)
        if checkpoint and checkpoints.is_finished(checkpoint):
            say("  that was the last step: only saving is left")
            trainer.take_over(checkpoint)
            return trainer
        with preemption:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if preemption.stopped:
            done = f"step {trainer.state.global_step} of {trainer.state.max_steps}"
            raise Interrupted(f"stopped by {preemption.requested} after {done}, which is saved", self.again(), "E975")
        return trainer

    def _trainer(self, micro: int, preemption: Any) -> Any:
        from transformers import EarlyStoppingCallback, PrinterCallback

        from finetune.training.callbacks import FiniteGuard, FittingThreads, LogFile, Milestones, Progress
        from finetune.training.sft import PromptCompletionTrainer, arguments, as_dataset

        config, paths = self.config, self.project.paths
        bits = quantisation(config, self.dtype)
        model = load_weights(self.base, dtype=self.dtype, device=self.device, quantization=bits)
        _check_targets(model, self.project)
        form, why = exact_form(config.batch.batching, model.config, config.max_length)
        resolved("batching", form, why)
        callbacks = [
            FiniteGuard(),
            Milestones(self.inputs, config.checkpoints.keep),
            LogFile(paths.checkpoints / LOG),
            Progress(),
            preemption,
        ]
        if self.device == "cpu":
            callbacks.append(FittingThreads())
        if config.early_stopping_patience:
            callbacks.append(EarlyStoppingCallback(config.early_stopping_patience))
        trainer = PromptCompletionTrainer(
            model=model,
            args=arguments(
                config,
                output=paths.checkpoints,
                micro_batch=micro,
                rows=len(self.train_rows),
                device=self.device,
                dtype=self.dtype,
                checkpointing=self.checkpointing,
                processes=self.processes,
            ),
            data_collator=Collator(form, self.tokenizer.pad_token_id),
            train_dataset=as_dataset(self.train_rows),
            eval_dataset=as_dataset(self.valid_rows),
            processing_class=self.tokenizer,
            peft_config=self._lora(),
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        wrapped: Any = trainer.model
        weights = [(p.numel(), p.requires_grad) for p in wrapped.parameters()]
        trainable = sum(count for count, learns in weights if learns)
        everything = sum(count for count, _ in weights)
        resolved("trainable", f"{trainable:,} of {everything:,}", f"LoRA r={config.lora.r}")
        return trainer

    def _lora(self) -> Any:
        from peft import LoraConfig

        lora = self.config.lora
        targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
        return LoraConfig(
            r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
        )

    def _save(self, trainer: Any, recovered: list[Recovery], seconds: float) -> None:
        """Write models/adapter in one rename, then drop the checkpoints: they have served."""
        from finetune.training.callbacks import diverged, first_not_finite, write_log

        if name := first_not_finite(trainer.model):
            raise diverged(f"adapter weight {name} is not finite")
        paths, state = self.project.paths, trainer.state
        with provenance.staged(paths.adapter) as folder:
            peft_config = trainer.model.peft_config["default"]
            # The path on this disk means nothing to others; the id and commit do.
            peft_config.base_model_name_or_path = self.base.id
            peft_config.revision = self.base.revision if self.base.source == "hub" else None
            # peft keeps a set, whose order changes with every process; the same adapter has the same bytes.
            peft_config.target_modules = sorted(peft_config.target_modules)
            # "auto" would ask the Hub whether the vocabulary grew; embeddings are never adapted here.
            trainer.model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
            (folder / "README.md").unlink(missing_ok=True)
            write_plain_config(folder / CONFIG)
            write_log(folder / LOG, state)
            result = self._result(state, recovered, seconds)
            facts = {**self._facts(trainer), "result": asdict(result)}
            manifest, outputs = folder / provenance.MANIFEST, sorted(filter(Path.is_file, folder.iterdir()))
            provenance.write_manifest(manifest, step=STEP, inputs=self.inputs, outputs=outputs, facts=facts)
        # From here on nothing is left that could be stopped, and whoever is told so would be told wrong.
        with listening(lambda _: None):
            checkpoints.discard(paths.checkpoints)
            say(
                f"trained {result.steps} steps in {result.seconds:.0f} s ({result.samples_per_s:.1f} rows/s), "
                f"best validation loss {result.best_eval_loss:.4f}"
            )
            for finding in result.findings:
                say(f"  {finding.code}: {finding.text}. Change: {finding.change}")
            say(f"wrote {paths.relative(paths.adapter)}")

    def _result(self, state: TrainerState, recovered: list[Recovery], seconds: float) -> RunResult:
        log = state.log_history
        fresh = (state.global_step - (self.resumed_from or 0)) * self.config.batch.effective
        return RunResult(
            steps=state.global_step,
            seconds=round(seconds, 1),
            samples_per_s=round(fresh / seconds, 3),
            final_loss=next((entry["loss"] for entry in reversed(log) if "loss" in entry), None),
            best_eval_loss=state.best_metric,
            resumed_from_step=self.resumed_from,
            recovered=recovered,
            findings=diagnose(log),
        )

    def _facts(self, trainer: Any) -> dict[str, Any]:
        """What the run was made of, for the cards, the reports and the release."""
        base = self.base
        return {
            "base": msgspec.to_builtins(RecordedBase(base.id, base.revision, base.source, base.fingerprint)),
            "data": {"train_sha256": self.inputs["train"], "valid_sha256": self.inputs["valid"]},
            "rows": {"train": len(self.train_rows), "valid": len(self.valid_rows)},
            "config": json.loads(self.config.model_dump_json()),
            "resolved": {
                "device": self.device, "dtype": str(self.dtype).removeprefix("torch."), "processes": self.processes,
                "batching": trainer.data_collator.batching, "gradient_checkpointing": self.checkpointing,
            },
            "environment": provenance.environment(self.project.paths.root),
        }  # fmt: skip


def _check_targets(model: torch.nn.Module, project: Project) -> None:
    """Raise FinetuneError (E225) naming the real linear layers when target_modules match none."""
    import torch

    targets = project.training.lora.target_modules
    if isinstance(targets, str):
        return
    linear = {name.split(".")[-1] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    if unknown := sorted(set(targets) - linear):
        known = ", ".join(sorted(linear - {"lm_head"}))
        raise FinetuneError(f"target_modules {', '.join(unknown)} match nothing", f"use some of: {known}", code="E225")
