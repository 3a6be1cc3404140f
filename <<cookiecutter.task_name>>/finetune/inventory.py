"""What each file and each section of the configurations is: policy, recipe, code, packages, data.

The fingerprint, the frozen input of a training run, both reports of what a pull request changes and the rules for
forks are made from these tables; CODEOWNERS is compared with them by a test. A new folder, step or section is entered
here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["policy", "recipe", "code", "packages", "data"]

TASK = "task_definition.yaml"
BENCHMARK = "configs/benchmark_config.yaml"
TRAINING = "configs/training_config.yaml"
SMOKE = "configs/smoke_config.yaml"
PACKAGES = "constraints.txt"
RAW = "data/raw/"

OWNED: dict[str, Kind] = {
    TASK: "policy",
    "configs/": "policy",
    "finetune/": "code",
    "scripts/": "code",
    "tests/": "code",
    ".github/": "code",
    "Makefile": "code",
    "pyproject.toml": "code",
    PACKAGES: "packages",
}
"""What decides about the model, in the order of CODEOWNERS; a folder's name ends with a slash."""
PARTS: dict[str, Kind] = {**OWNED, "configs/accelerate/": "recipe", "configs/tokenizer/": "recipe", RAW: "data"}
"""The longest name that a path begins with says what it is; other files are of no kind."""

POLICY: dict[str, tuple[str, ...]] = {
    TASK: (
        "metrics", "data.min_rows_per_class", "data.max_imbalance", "data.imbalance_policy", "data.duplicates",
        "data.near_duplicates", "data.personal_data",
    ),
    BENCHMARK: ("",),
    TRAINING: ("base_model", "checks"),
}  # fmt: skip
"""Keys whose values say what is good enough, and which model is loaded; the empty one is the whole file."""
NOT_TRAINED = ("checks", "checkpoints.keep", "logging_steps")
"""Keys of training_config.yaml that leave the adapter as it is; per_epoch does not: the best checkpoint is kept."""
FORK_FIXED = ("base_model", "device", "checks", "checkpoints", "logging_steps")
"""Sections of training_config.yaml that a fork may not change: what is loaded, where, and what fills the disk."""
MEASURED = frozenset({"version", "splits", "generation", "bootstrap", "baselines"})
"""Sections of benchmark_config.yaml that a report's numbers depend on."""

STEP_FOLDERS = ("config", "data", "training", "evaluation", "templates")
"""Folders of finetune/ that steps 02 to 04 import from or read, beside the modules in finetune/ itself."""
STEPS = ("scripts/02_convert_format.py", "scripts/03_train.py", "scripts/04_evaluate.py")
"""What the training job calls."""
START = "scripts/_start.py"
"""What each of them imports first."""
READ_BY_STEPS = ("finetune/codes.toml",)
"""What the steps read beside the configurations, and no number depends on."""


def kind_of(path: str) -> Kind | None:
    """What the posix `path` is; None for documents and whatever else decides nothing."""
    names = [name for name in PARTS if path == name or (name.endswith("/") and path.startswith(name))]
    return PARTS[max(names, key=len)] if names else None


def is_machinery(path: str) -> bool:
    """Whether a change of this file is told by the file's name: of the configurations, by the keys that differ."""
    return kind_of(path) in ("code", "packages", "recipe")


def machinery() -> list[str]:
    """Files and folders of which `is_machinery` holds, as they are written in PARTS."""
    return [name for name in PARTS if is_machinery(name)]


def is_step_code(path: str) -> bool:
    """Whether the posix `path` is code (or a template) of steps 02 to 04."""
    top, *parts = path.split("/")
    if top != "finetune" or any(part.startswith(".") for part in parts):
        return path in (*STEPS, START)
    return path.endswith((".py", ".j2")) and (len(parts) == 1 or parts[0] in STEP_FOLDERS)


def is_policy(path: str, key: str) -> bool:
    """Whether the dotted `key` of a configuration is policy; an entry of a list is written `key[name]`."""
    return any(not part or key == part or key.startswith((f"{part}.", f"{part}[")) for part in POLICY.get(path, ()))


def recipe(training: Mapping[str, Any]) -> dict[str, Any]:
    """The values of training_config.yaml that an adapter depends on."""
    kept = dict(training)
    for key in NOT_TRAINED:
        section, _, inner = key.partition(".")
        if not inner:
            kept.pop(section, None)
        elif isinstance(kept.get(section), Mapping):
            kept[section] = {name: value for name, value in kept[section].items() if name != inner}
    return kept


def policy_sections(path: str) -> Mapping[str, Any] | None:
    """POLICY of a file as pydantic's `include`: {"metrics": True, "data": {"duplicates": True}}; None for the whole."""
    chosen: dict[str, Any] = {}
    for key in POLICY[path]:
        section, _, inner = key.partition(".")
        if not section:
            return None
        if inner:
            chosen.setdefault(section, {})[inner] = True
        else:
            chosen[section] = True
    return chosen
