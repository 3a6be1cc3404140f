"""What judges comes from main: a change to it is named, and of a fork nothing is taken but data and training values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import raw_rows
from finetune.config.project import load_project
from finetune.data.stage import convert
from finetune.errors import BadInput
from finetune.github.train.fingerprint import training_fingerprint
from git_repository import EXECUTABLE, LINK, REGULAR, SUBMODULE, GitRepository
from github_workspace import BENCHMARK, FROZEN, TASK, TRAINING, Make, Workspace, rows_file


@pytest.fixture
def work(make_project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    workspace = Workspace(make_project, tmp_path, monkeypatch)
    with workspace.github:
        yield workspace


class TestPolicy:
    def changes(self, work: Workspace, sha: str, source: str = "repository") -> list[tuple[str, str, str]]:
        found = work.freeze(sha, source=source)["policy_changes"]
        return [(change["path"], change["kind"], change["detail"]) for change in found]

    def test_a_lowered_threshold_is_named(self, work: Workspace):
        work.edited(TASK, "metrics.threshold", 0.01)
        sha = work.edited(BENCHMARK, "tolerances.Q8_0", 0.9)
        assert self.changes(work, sha) == [
            (BENCHMARK, "benchmark", "tolerances.Q8_0: 1.0 → 0.9"),
            (TASK, "task", "metrics.threshold: 0.8 → 0.01"),
        ]

    def test_another_model_and_wider_checks_are_named(self, work: Workspace):
        work.edited(TRAINING, "checks.epochs", [1, 99])
        sha = work.edited(TRAINING, "base_model.id", "evil/repo")
        assert self.changes(work, sha) == [
            (TRAINING, "training", 'base_model.id: "HuggingFaceTB/SmolLM2-135M-Instruct" → "evil/repo"'),
            (TRAINING, "training", "checks.epochs: [1.0, 10.0] → [1.0, 99.0]"),
        ]

    def test_code_workflows_and_packages_are_named(self, work: Workspace):
        sha = work.changed(
            **{
                "finetune/data/checks.py": "CODE = 2\n",
                "finetune/github/train/gate.py": None,
                "scripts/new.py": "x",
                "constraints.txt": "torch==9\n",
                ".github/workflows/train.yml": "on: push\n",
                "README.md": "other",
            }
        )
        assert self.changes(work, sha) == [
            (".github/workflows/train.yml", "code", "added"),
            ("constraints.txt", "packages", "changed; the runner installs main's"),
            ("finetune/data/checks.py", "code", "changed"), ("finetune/github/train/gate.py", "code", "removed"),
            ("scripts/new.py", "code", "added"),
        ]  # fmt: skip

    @pytest.mark.parametrize("path", ["tests/test_task.py", "Makefile", "pyproject.toml"])
    def test_whatever_codeowners_names_as_code_is_named(self, work: Workspace, path: str):
        """CODEOWNERS promises it: a target of make or a test that is weakened decides about the model too."""
        assert self.changes(work, work.changed(**{path: "other\n"})) == [(path, "code", "added")]

    def test_a_recipe_in_a_file_of_its_own_is_named(self, work: Workspace):
        sha = work.changed(**{"configs/accelerate/other.yaml": "num_processes: 9\n"})
        assert self.changes(work, sha) == [("configs/accelerate/other.yaml", "training", "added")]

    def test_a_long_list_is_cut_and_counted(self, work: Workspace):
        sha = work.changed(**{f"finetune/data/m{number}.py": "x" for number in range(33)})
        found = self.changes(work, sha)
        assert len(found) == 21
        assert found[-1] == ("...", "code", "13 further changes of this kind")

    def test_removed_and_relabelled_test_rows_are_counted(self, work: Workspace):
        rows = raw_rows("classification")
        convert(load_project(work.change.root))
        tests = [json.loads(line) for line in (work.change.root / "data/test.jsonl").read_text().splitlines()]
        asked = [record["messages"][1]["content"] for record in tests]
        kept = [row for row in rows if row["input"] != asked[0]]
        for row in kept:
            if row["input"] == asked[1]:
                row["label"] = next(name for name in ("billing", "shipping") if name != row["label"])
        kept.append({"input": "an entirely new case of a parcel", "label": "shipping"})
        found = self.changes(work, work.changed(**{"data/raw/rows.jsonl": rows_file(kept), "data/test.jsonl": "{}\n"}))
        assert found == [("data/raw", "test-rows", f"2 of main's {len(tests)} test rows are removed or changed")]

    def test_another_salt_is_another_test_set(self, work: Workspace):
        for salt in map(str, range(99)):
            sha = work.edited(BENCHMARK, "splits.salt", salt)
            try:
                found = self.changes(work, sha)
                break
            except BadInput:  # drawn so that a class is missing in a split
                work.statuses.clear()
        assert found[0] == (BENCHMARK, "benchmark", f'splits.salt: "" → "{salt}"')
        assert found[1][1] == "test-rows"

    def test_while_main_has_no_data_every_test_row_is_new(self, work: Workspace):
        (work.root / "data/raw/rows.jsonl").unlink()
        GitRepository(work.root).commit()
        assert self.changes(work, work.base) == []


class TestFork:
    def test_takes_mains_code_and_task_and_the_forks_data_and_training(self, work: Workspace):
        rows = raw_rows("classification", 66)
        work.changed(
            **{
                "data/raw/rows.jsonl": None,
                "data/raw/mine.jsonl": rows_file(rows),
                "finetune/data/checks.py": "EVIL\n",
                "scripts/02_convert_format.py": "EVIL\n",
                "constraints.txt": "evil==1\n",
                "data/raw/README.md": "notes",
            }
        )
        work.edited(BENCHMARK, "thresholds", {"accuracy": 0.01})
        work.edited(TASK, "metrics.threshold", 0.01)
        sha = work.edited(TRAINING, "optimiser.epochs", 3)
        manifest = work.freeze(sha, source="fork")
        assert list(manifest["files"]) == [name.replace("rows.jsonl", "mine.jsonl") for name in FROZEN]
        assert (manifest["sha"], manifest["source"], manifest["main_sha"]) == (sha, "fork", work.base)
        frozen = work.input / "files"
        for name in FROZEN:
            if name not in ("data/raw/rows.jsonl", TRAINING):
                assert (frozen / name).read_bytes() == (work.root / name).read_bytes(), name
        assert load_project(frozen).training.optimiser.epochs == 3
        assert sum(manifest["rows"].values()) == 66
        assert [(c["path"], c["kind"]) for c in manifest["policy_changes"]] == [
            (TASK, "not-taken"), (BENCHMARK, "not-taken"), ("constraints.txt", "not-taken"),
            ("finetune/, scripts/", "not-taken"),
        ]  # fmt: skip
        assert "2 files differ" in manifest["policy_changes"][-1]["detail"]

    def test_a_plain_data_change_is_no_policy_change_and_has_mains_fingerprint_after_the_merge(self, work: Workspace):
        sha = work.changed(**{"data/raw/rows.jsonl": rows_file(raw_rows("classification", 66))})
        manifest = work.freeze(sha, source="fork")
        assert manifest["policy_changes"] == []
        assert manifest["fingerprint"] == training_fingerprint(load_project(work.change.root))

    def test_needs_no_checkout_and_runs_no_code_of_the_fork(self, work: Workspace):
        work.freeze(work.base, source="fork")
        assert not (work.root / "build/candidate/.git").exists()
        calls = {call.rsplit("/", 1)[0] for call in work.github.calls("GET")}
        assert calls == {f"GET /repos/acme/demo/{part}" for part in ("git/trees", "git/blobs", "actions")}

    @pytest.mark.parametrize(("key", "value"), [
        ("base_model.id", "evil/repo"), ("base_model.revision", "2" * 40), ("base_model.enable_thinking", True),
        ("base_model.license", "mit"), ("device", "auto"), ("checkpoints.per_epoch", 999), ("checkpoints.keep", 99),
        ("checks.epochs", [1, 1000]), ("logging_steps", 1),
    ])  # fmt: skip
    def test_a_fork_may_not_change_what_is_loaded_and_where(self, work: Workspace, key: str, value: Any):
        assert work.refused(work.edited(TRAINING, key, value), "fork") == [(TRAINING, "E623", key)]

    @pytest.mark.parametrize(("key", "value"), [
        ("optimiser.learning_rate", 0.02), ("lora.r", 8), ("method", "qlora"), ("batch.effective", 4), ("seed", 7),
        ("max_length", 256), ("precision", "bf16"), ("early_stopping_patience", 0),
    ])  # fmt: skip
    def test_a_fork_may_change_how_it_is_trained(self, work: Workspace, key: str, value: Any):
        assert work.freeze(work.edited(TRAINING, key, value), source="fork")["policy_changes"] == []

    @pytest.mark.parametrize(("path", "mode", "code"), [
        ("data/raw/passwd.jsonl", LINK, "E616"), ("data/raw/sub", SUBMODULE, "E616"),
        ("data/raw/run.jsonl", EXECUTABLE, "E616"), ("data/raw/--help.jsonl", REGULAR, "E617"),
        ("data/raw/$(id).jsonl", REGULAR, "E617"), (TRAINING, LINK, "E616"),
    ])  # fmt: skip
    def test_hostile_entries_are_refused_by_name(self, work: Workspace, path: str, mode: str, code: str):
        assert work.refused(work.with_entry(path, mode, b"/etc/passwd"), "fork") == [(path, code, None)]

    def test_a_thousand_epochs(self, work: Workspace):
        sha = work.edited(TRAINING, "optimiser.epochs", 1000)
        assert work.refused(sha, "fork") == [(TRAINING, "E625", "optimiser.epochs")]

    def test_a_policy_file_that_is_broken_is_mains_anyway(self, work: Workspace):
        sha = work.changed(**{BENCHMARK: "!!python/object:os.system [id]\n", TASK: "- broken"})
        assert [c["path"] for c in work.freeze(sha, source="fork")["policy_changes"]] == [TASK, BENCHMARK]
