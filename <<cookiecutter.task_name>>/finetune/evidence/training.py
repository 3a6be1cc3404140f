"""Phase 4: an adapter of today's data and configuration exists, and its run was sound."""

from __future__ import annotations

import math
import re
from typing import Any

from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, done, failed, not_yet
from finetune.evidence.registry import evidence
from finetune.evidence.values import finite_or_none
from finetune.training.diagnosis import diagnose

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", re.MULTILINE)


def _run(facts: Facts) -> dict[str, Any]:
    """What the adapter's manifest tells about its run; ask facts.adapter_problem first."""
    return facts.adapter_manifest.facts


@evidence
def gpu_available(facts: Facts) -> Finding:
    if facts.adapter_problem:
        return facts.adapter_problem
    used, wanted = _run(facts)["resolved"]["device"], facts.task.resources.gpu_memory_gb
    if used == "cuda":
        return done("the run used device cuda (adapter/manifest.json)")
    if wanted and facts.training.device != "cpu" and not facts.paths.smoke:
        return failed(f"the run used device {used}, resources.gpu_memory_gb is {wanted}")
    return done(f"not needed: device {used} as configured (preset {facts.task.resources.preset})")


@evidence
def memory_enough(facts: Facts) -> Finding:
    if facts.adapter_problem:
        return facts.adapter_problem
    result = _run(facts)["result"]
    shortages = len(result["recovered"])
    after = f" after {shortages} recovered shortage{'s' * (shortages > 1)}" if shortages else ", preflight passed"
    return done(f"the run ended: {result['steps']} steps in {result['seconds']:.0f} s{after} (adapter/manifest.json)")


@evidence
def configuration_confirmed(facts: Facts) -> Finding:
    return facts.adapter_problem or done("the resolved configuration in adapter/manifest.json is today's")


@evidence
def virtual_environment(facts: Facts) -> Finding:
    if facts.adapter_problem:
        return facts.adapter_problem
    used = _run(facts)["environment"]
    constraints = facts.root / "constraints.txt"
    if not constraints.is_file():
        return not_yet("no constraints.txt to compare the run's versions with")
    pins = {_plain(name): version for name, version in _PIN.findall(constraints.read_text(encoding="utf-8"))}
    versions = {_plain(name): version for name, version in used["packages"].items()}
    # torch 2.13.0+cu130 is torch 2.13.0 for another machine.
    off = [
        f"{name} {version} instead of {pins[name]}"
        for name, version in versions.items()
        if name in pins and version.split("+")[0] != pins[name].split("+")[0]
    ]
    if off:
        return failed(f"the run's versions differ from constraints.txt: {', '.join(off[:4])}")
    compared = sum(name in pins for name in versions)
    return done(f"Python {used['python']}, {compared} package versions as in constraints.txt (adapter/manifest.json)")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@evidence
def base_model(facts: Facts) -> Finding:
    if facts.adapter_problem:
        return facts.adapter_problem
    used, wanted = _run(facts)["base"], facts.training.base_model
    text = f"{used['id']} at {used['revision'][:20]} from {used['source']}, fingerprint {used['fingerprint'][:12]}"
    right = used["id"] == wanted.id and (used["source"] != "hub" or used["revision"] == wanted.revision)
    return done(text) if right else failed(f"{text}, configured is {wanted.id} at {wanted.revision[:12]}")


@evidence
def lora(facts: Facts) -> Finding:
    if facts.adapter_problem:
        return facts.adapter_problem
    saved, wanted = facts.read_json(facts.paths.adapter / "adapter_config.json") or {}, facts.training.lora
    expected = {"r": wanted.r, "lora_alpha": wanted.alpha, "lora_dropout": wanted.dropout}
    off = [name for name, value in expected.items() if saved.get(name) != value]
    if off:
        shown = ", ".join(f"{name} {saved.get(name)} instead of {expected[name]}" for name in off)
        return failed(f"adapter_config.json: {shown}")
    modules = {name.split(".")[-1] for name in saved.get("target_modules") or ()}
    if not modules or {"lm_head", "embed_tokens"} & modules or saved.get("modules_to_save"):
        return failed("adapter_config.json adapts no layer, lm_head or the embeddings")
    return done(f"r {wanted.r}, alpha {wanted.alpha}, dropout {wanted.dropout:g} on {', '.join(sorted(modules))}")


def _range(facts: Facts, name: str) -> Finding:
    if refusal := facts.refused("configs/training_config.yaml", f"optimiser.{name}", f"checks.{name}"):
        return refusal
    value, (low, high) = getattr(facts.training.optimiser, name), getattr(facts.training.checks, name)
    where = f"optimiser.{name} {value:g}, range {low:g} to {high:g} (checks.{name})"
    return done(where) if low <= value <= high else failed(f"outside: {where}; change it, or the range knowingly")


@evidence
def learning_rate(facts: Facts) -> Finding:
    return _range(facts, "learning_rate")


@evidence
def epochs(facts: Facts) -> Finding:
    return _range(facts, "epochs")


@evidence
def batch_size(facts: Facts) -> Finding:
    if facts.adapter_problem:
        return facts.adapter_problem
    batch, recovered = facts.training.batch, _run(facts)["result"]["recovered"]
    if recovered:
        fits = recovered[-1]["to_per_device"]
        return failed(f"batch.per_device {batch.per_device} did not fit, {fits} did: set it in training_config.yaml")
    return done(f"batch.per_device {batch.per_device} fitted, {batch.effective} rows an optimiser step")


def _log_problem(facts: Facts) -> Finding | None:
    if facts.adapter_problem:
        return facts.adapter_problem
    if not any("loss" in row for row in facts.log):
        return not_yet(f"no loss in {facts.name(facts.paths.adapter)}/training_log.jsonl: run scripts/03_train.py")
    return None


def _diagnosed(facts: Facts, *codes: str) -> str | None:
    """What the diagnosis of the log says about `codes`, with the setting to change."""
    finite = [{name: value for name, value in row.items() if finite_or_none(value) is not None} for row in facts.log]
    return next((f"{f.code}: {f.text}; {f.change}" for f in diagnose(finite) if f.code in codes), None)


@evidence
def loss_falls(facts: Facts) -> Finding:
    if problem := _log_problem(facts):
        return problem
    losses = [value for row in facts.log if (value := finite_or_none(row.get("loss"))) is not None]
    if diagnosis := _diagnosed(facts, "no-learning", "spike"):
        return failed(f"{diagnosis} (training_log.jsonl)")
    if len(losses) < 2:
        return not_yet(f"{len(losses)} logged losses show no trend: lower logging_steps (training_log.jsonl)")
    text = f"loss {losses[0]:.3f} → {losses[-1]:.3f} over {len(losses)} log entries (training_log.jsonl)"
    return done(text) if losses[-1] < losses[0] else failed(text)


@evidence
def eval_loss(facts: Facts) -> Finding:
    if problem := _log_problem(facts):
        return problem
    values = [value for row in facts.log if (value := finite_or_none(row.get("eval_loss"))) is not None]
    if not values:
        return not_yet("no eval_loss in training_log.jsonl")
    kept, best = finite_or_none(_run(facts)["result"]["best_eval_loss"]), min(values)
    if kept is None or kept > best + 1e-6:
        return failed(f"the adapter kept is not the best one: eval loss {kept}, best {best:.4f} (manifest.json)")
    rose = 0
    while rose + 1 < len(values) and values[-rose - 1] > values[-rose - 2]:
        rose += 1
    patience = facts.training.early_stopping_patience
    text = f"eval loss best {best:.4f} (kept), last {values[-1]:.4f}, rose {rose} times at the end"
    return failed(text) if rose > max(patience, 1) else done(f"{text} (training_log.jsonl)")


def _shortages(facts: Facts) -> str | None:
    recovered = _run(facts)["result"]["recovered"]
    if not recovered:
        return None
    first, last = recovered[0]["from_per_device"], recovered[-1]["to_per_device"]
    kept = facts.training.batch.effective
    return f"{len(recovered)} × out of memory, {first} → {last} rows at once, effective batch {kept} kept"


@evidence
def no_oom(facts: Facts) -> Finding:
    if facts.adapter_problem:
        return facts.adapter_problem
    shortages = _shortages(facts)
    return done(f"recovered: {shortages}" if shortages else "0 shortages of memory (adapter/manifest.json)")


@evidence
def no_nan(facts: Facts) -> Finding:
    if problem := _log_problem(facts):
        return problem
    watched = [(row, name) for row in facts.log for name in ("loss", "eval_loss", "grad_norm") if name in row]
    for row, name in watched:
        if finite_or_none(row[name]) is None:
            return failed(f"{name} is {row[name]} at step {row.get('step')} (training_log.jsonl)")
    if not math.isfinite(finite_or_none(_run(facts)["result"]["final_loss"]) or math.nan):
        return failed("the final loss is not finite (adapter/manifest.json)")
    return done(f"{len(watched)} logged losses and gradient norms are finite (training_log.jsonl)")


@evidence
def overfitting(facts: Facts) -> Finding:
    if problem := _log_problem(facts):
        return problem
    if diagnosis := _diagnosed(facts, "overfitting"):
        return not_yet(f"{diagnosis} (training_log.jsonl)")
    return done("not needed: the diagnosis finds no overfitting")


@evidence
def underfitting(facts: Facts) -> Finding:
    if problem := _log_problem(facts):
        return problem
    if diagnosis := _diagnosed(facts, "underfitting", "no-learning"):
        return not_yet(f"{diagnosis} (training_log.jsonl)")
    return done("not needed: the diagnosis finds no underfitting")


@evidence
def oom_remedy(facts: Facts) -> Finding:
    if facts.adapter_problem:
        return facts.adapter_problem
    shortages = _shortages(facts)
    if shortages is None:
        return done("not needed: no shortage of memory")
    return not_yet(f"{shortages}: lower batch.per_device, or use method: qlora (preset 24GB-8B-QLoRA)")
