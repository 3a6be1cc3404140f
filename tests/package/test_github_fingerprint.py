"""The fingerprint follows every byte that training and evaluation read, and nothing that only judges or names them."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune import html_page
from finetune.config.project import Project, load_project
from finetune.errors import BadInput
from finetune.github.train.fingerprint import fingerprint, training_fingerprint
from finetune.inventory import STEP_FOLDERS, is_step_code
from finetune.training.adapter import run_inputs
from finetune.training.base_model import BaseModel
from git_repository import GitRepository
from repository import ROOT

Make = Callable[..., Project]
CHECKED = [
    *(f"finetune/{part}/deep/module.py" for part in STEP_FOLDERS),
    "finetune/paths.py",
    "scripts/03_train.py",
    "finetune/evaluation/templates/report.html.j2",
    "constraints.txt",
    "data/raw/rows.jsonl",
]
IGNORED = [
    "README.md",
    "finetune/github/client/comments.py",
    "finetune/export/merge.py",
    "finetune/hub/publish.py",
    "scripts/github.py",
    "finetune/hub/templates/card.md.j2",
    "finetune/data/__pycache__/records.cpython-311.pyc",
    "finetune/data/records.so",
    "models/x.bin",
    "iterations/v1.0.0.yaml",
    "docs/integration_guide.md",
    "benchmarks/results/evaluation_report.yaml",
    "data/chat_format/train.jsonl",
    "data/raw/.gitkeep",
    "data/raw/README.md",
    "configs/smoke_config.yaml",
    "finetune/.cache/data/x.py",
    "sitecustomize.py",
    "torch.py",
]


@pytest.fixture
def project(make_project: Make) -> Project:
    """A project with all optional sections written out, and a little code."""
    made = make_project()
    for name in [*CHECKED[:-1], *IGNORED]:
        path = made.paths.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n", encoding="utf-8")
    return made


def of(root: Path) -> str:
    return training_fingerprint(load_project(root))


def test_is_the_same_in_another_place_order_time_and_history(project: Project, tmp_path: Path, monkeypatch: Any):
    root, expected = project.paths.root, of(project.paths.root)
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    for seed in range(3):
        copy = tmp_path / f"copy {seed}"
        random.Random(seed).shuffle(files)
        for name in files:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy / name)
            os.utime(copy / name, (seed * 1e8, seed * 1e8))
        GitRepository(copy).commit()
        monkeypatch.chdir(copy if seed else tmp_path)
        assert of(Path(".") if seed else copy) == expected


def test_the_directory_order_of_the_file_system_does_not_matter(project: Project, monkeypatch: pytest.MonkeyPatch):
    expected, walk = of(project.paths.root), os.walk

    def backwards(top: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        for folder, folders, names in walk(top, *arguments, **options):
            folders.reverse()
            yield folder, folders, names[::-1]

    (project.paths.root / "finetune/data/a.py").write_text("a")
    (project.paths.root / "finetune/data/z.py").write_text("z")
    changed = of(project.paths.root)
    monkeypatch.setattr(os, "walk", backwards)
    assert of(project.paths.root) == changed != expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(CHECKED), data=st.data())
def test_follows_every_byte_of_data_code_and_pins(project: Project, name: str, data: st.DataObject):
    path = project.paths.root / name
    before, content = of(project.paths.root), path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    try:
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        assert of(project.paths.root) != before
    finally:
        path.write_bytes(content)
    assert of(project.paths.root) == before


@pytest.mark.parametrize("name", CHECKED[:-1])
def test_follows_a_file_that_comes_goes_or_moves(project: Project, name: str):
    root, path = project.paths.root, project.paths.root / name
    before = of(root)
    path.rename(path.with_name(f"renamed-{path.name}"))
    moved = of(root)
    path.with_name(f"renamed-{path.name}").unlink()
    # A step or the pins under another name are none at all; a module under another name is another module.
    assert len({before, moved, of(root)}) == (2 if name in ("constraints.txt", "scripts/03_train.py") else 3)


def test_follows_a_second_data_file_and_its_name(project: Project):
    root = project.paths.root
    found = {of(root)}
    (root / "data/raw/more.jsonl").write_bytes(b'{"input": "new", "label": "billing"}\n')
    found.add(of(root))
    (root / "data/raw/more.jsonl").rename(root / "data/raw/other.jsonl")
    assert len(found | {of(root)}) == 3


@pytest.mark.parametrize("name", IGNORED)
def test_does_not_follow_what_training_and_scores_do_not_depend_on(project: Project, name: str):
    before = of(project.paths.root)
    (project.paths.root / name).write_text("something else", encoding="utf-8")
    assert of(project.paths.root) == before
    (project.paths.root / name).unlink()
    assert of(project.paths.root) == before


def test_a_linked_module_is_no_code_of_the_tree(project: Project, tmp_path: Path):
    before = of(project.paths.root)
    (tmp_path / "evil.py").write_text("1")
    (project.paths.root / "finetune/data/link.py").symlink_to(tmp_path / "evil.py")
    assert of(project.paths.root) == before


TASK, TRAINING, BENCHMARK = "task_definition.yaml", "configs/training_config.yaml", "configs/benchmark_config.yaml"
COUNTS = {
    TASK: {
        "task_type", "language", "input", "output", "system_prompt", "metrics.primary", "metrics.secondary", "data",
    },
    TRAINING: {
        "version", "base_model", "method", "lora", "quantization", "optimiser", "batch", "max_length", "precision",
        "device", "seed", "early_stopping_patience", "gradient_checkpointing", "checkpoints.per_epoch",
    },
    BENCHMARK: {"version", "splits", "bootstrap", "baselines", "generation"},
}  # fmt: skip
DOES_NOT = {
    TASK: {
        "version", "task_name", "description", "status", "released_version", "license", "metrics.threshold",
        "resources", "hub",
    },
    TRAINING: {"logging_steps", "checkpoints.keep", "checks"},
    BENCHMARK: {"thresholds", "quantisations", "tolerances"},
}  # fmt: skip
NEW: dict[str, list[tuple[str, Any]]] = {
    TASK: [
        ("language", "de"), ("input.max_chars", 500), ("input.description", "other"), ("output.max_new_tokens", 9),
        ("output.example", "account"), ("system_prompt", "Another {labels}"), ("metrics.primary", "accuracy"),
        ("metrics.secondary", []), ("data.balance", "oversample"), ("data.group_field", "customer"),
        ("data.min_rows_per_class", 6), ("metrics.threshold", 0.9), ("status", "released"), ("task_name", "other"),
        ("released_version", "v1.0.0"), ("license", "mit"), ("description", "other"), ("hub.adapter", "acme/x-lora"),
        ("hub.private", True), ("resources.gpu_memory_gb", 24),
    ],
    TRAINING: [
        ("base_model.id", "acme/base"), ("base_model.revision", "1" * 40), ("base_model.enable_thinking", False),
        ("method", "qlora"), ("lora.r", 8), ("lora.alpha", 16), ("lora.dropout", 0.1), ("quantization.type", "fp4"),
        ("lora.target_modules", ["q_proj"]), ("optimiser.learning_rate", 0.02), ("optimiser.epochs", 3),
        ("optimiser.warmup_ratio", 0.1), ("batch.per_device", 2), ("batch.effective", 16), ("batch.batching", "padded"),
        ("max_length", 256), ("precision", "bf16"), ("device", "auto"), ("seed", 43), ("early_stopping_patience", 3),
        ("gradient_checkpointing", True), ("logging_steps", 7), ("checkpoints.per_epoch", 2), ("checkpoints.keep", 3),
        ("checks.epochs", [1, 20]), ("checks.learning_rate", [0.1, 0.2]),
    ],
    BENCHMARK: [
        ("version", 2), ("splits.salt", "other"), ("splits", {"train": 0.5, "valid": 0.2, "test": 0.3}),
        ("bootstrap.samples", 200), ("bootstrap.seed", 1), ("baselines", ["majority"]), ("generation.context", 1024),
        ("generation.batch_size", 4), ("thresholds", {"accuracy": 0.5}), ("tolerances.Q8_0", 0.5),
        ("quantisations", ["f16"]),
    ],
}  # fmt: skip


def test_every_setting_is_known_to_count_or_not(project: Project):
    """A new field of a schema must be put into one of the two tables, and so into the fingerprint or not."""
    schemas = {TASK: project.task, TRAINING: project.training, BENCHMARK: project.benchmark}
    for file, section in schemas.items():
        names = set(type(section).model_fields)
        told = {name.split(".")[0] for name in COUNTS[file] | DOES_NOT[file]}
        assert told == names
        parts = {name for name in COUNTS[file] | DOES_NOT[file] if name.startswith("metrics.")}
        assert not parts or {name.split(".")[1] for name in parts} == set(type(project.task.metrics).model_fields)


@pytest.mark.parametrize(("file", "key", "value"), [(file, *row) for file, rows in NEW.items() for row in rows])
def test_follows_the_settings_that_count(project: Project, file: str, key: str, value: Any):
    root = project.paths.root
    before, path = of(root), root / file
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    section, parts = values, key.split(".")
    for part in parts[:-1]:
        section = section.setdefault(part, {})
    section[parts[-1]] = value
    path.write_text("# a comment\n" + yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    counts = any(key == name or key.startswith(f"{name}.") for name in COUNTS[file])
    assert counts != any(key == name or key.startswith(f"{name}.") for name in DOES_NOT[file])
    assert (of(root) != before) == counts


def test_the_order_and_comments_of_a_configuration_do_not_count(project: Project):
    before = of(project.paths.root)
    for name in (TASK, TRAINING, BENCHMARK):
        path = project.paths.root / name
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text("# said\n" + yaml.safe_dump(dict(reversed(values.items()))), encoding="utf-8")
    assert of(project.paths.root) == before


def test_leaves_out_of_the_recipe_what_the_trainer_leaves_out(make_project: Make, tmp_path: Path):
    """Or an adapter that the trainer calls current would have another fingerprint, or the other way round."""
    base = BaseModel(tmp_path, "acme/base", "0" * 40, "hub", "2" * 64, "mit")
    kinds = {}
    for key, value in NEW[TRAINING]:
        section: Any = value
        for part in reversed(key.split(".")):
            section = {part: section}
        made = make_project(training=section)
        kinds[key] = (run_inputs(made, base, None)["config"], training_fingerprint(made))
    plain = make_project()
    config, whole = run_inputs(plain, base, None)["config"], training_fingerprint(plain)
    assert {key: found[0] != config for key, found in kinds.items()} == {
        key: found[1] != whole for key, found in kinds.items()
    }


def test_the_command_outputs_it(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    assert fingerprint(project) == 0
    [line] = (tmp_path / "output").read_text().splitlines()
    assert re.fullmatch("fingerprint=[0-9a-f]{64}", line)
    assert line.endswith(of(project.paths.root))


def test_unreadable_data_has_no_fingerprint(project: Project):
    (project.paths.raw / "link.jsonl").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match=r"link\.jsonl"):
        of(project.paths.root)


def test_the_script_needs_the_base_install_only(project: Project, tmp_path: Path):
    """As the data job runs it: from the repository's root, with none of the training packages."""
    blocked = [
        "torch",
        "transformers",
        "peft",
        "trl",
        "datasets",
        "sklearn",
        "huggingface_hub",
        "numpy",
        "requests",
        "httpx",
    ]
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n", encoding="utf-8"
    )
    output = tmp_path / "output"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "GITHUB_OUTPUT": str(output)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "github.py"), "fingerprint"],
        cwd=project.paths.root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert output.read_text() == f"fingerprint={of(project.paths.root)}\n"


def test_every_template_that_the_code_loads_is_code_too():
    """The training job is given no other file: a page that includes another one would fail there alone."""
    root = Path(html_page.__file__).resolve().parent.parent
    folders = {html_page.SHARED, *(root / "finetune" / part / "templates" for part in ("data/report", "evaluation"))}
    files = [file for folder in folders for file in folder.iterdir() if file.is_file()]
    assert len(files) >= 3
    for file in files:
        assert is_step_code(file.relative_to(root).as_posix()), file
