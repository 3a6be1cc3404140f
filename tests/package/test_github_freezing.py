"""Freezing: main's code checks the input and names every byte; what is refused is said by name, and never trained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import raw_rows
from finetune import provenance
from finetune.config.project import load_project
from finetune.console import run
from finetune.data.stage import convert
from finetune.errors import BadInput, FinetuneError, Problems, StorageFault
from finetune.github.train.budget import MAX_TOKENS, check_budget
from finetune.github.train.fingerprint import training_fingerprint
from finetune.github.train.freezing import freeze
from finetune.github.train.frozen import INPUT
from git_repository import EXECUTABLE, LINK, REGULAR, SUBMODULE
from github_workspace import BENCHMARK, FROZEN, TRAINING, Make, Workspace, rows_file


@pytest.fixture
def work(make_project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    workspace = Workspace(make_project, tmp_path, monkeypatch)
    with workspace.github:
        yield workspace


class TestFreeze:
    def test_names_every_byte_of_the_input_and_takes_nothing_else(self, work: Workspace):
        manifest = work.freeze(work.base)
        assert list(manifest["files"]) == FROZEN
        for name, facts in manifest["files"].items():
            path = work.change.root / name
            assert facts == {"sha256": provenance.sha256(path), "bytes": path.stat().st_size}
        assert {key: manifest[key] for key in ("version", "sha", "pr", "source", "main_sha", "repository")} == {
            "version": 1,
            "sha": work.base,
            "pr": 7,
            "source": "repository",
            "main_sha": work.base,
            "repository": "acme/demo",
        }
        assert manifest["policy_changes"] == []
        assert work.statuses == [(work.base, "pending", "waiting for the training runner")]

    def test_its_fingerprint_and_facts_are_those_of_the_checkout(self, work: Workspace):
        manifest = work.freeze(work.base, pr="")
        assert manifest["pr"] is None
        checkout = load_project(work.change.root)
        assert manifest["fingerprint"] == training_fingerprint(checkout)
        convert(checkout)
        facts = provenance.read_manifest(checkout.paths.data_manifest).facts
        assert manifest["rows"] == facts["rows"]
        assert manifest["test"] == {"sha256": facts["test_sha256"], "rows": facts["rows"]["test"]}

    def test_the_same_commit_freezes_to_the_same_digest(self, work: Workspace):
        work.freeze(work.base)
        first = work.digest
        for path in work.root.rglob("*.py"):
            os.utime(path, (0, 0))
        work.freeze(work.base)
        assert work.digest == first

    def test_a_base_model_that_the_gpu_job_cannot_get_is_refused(self, work: Workspace, monkeypatch):
        monkeypatch.setattr("finetune.github.train.base_access.closed_to_strangers", lambda project: "acme/m is gated")
        with pytest.raises(FinetuneError, match="E303 acme/m is gated"):
            work.freeze(work.base)
        assert [status[1] for status in work.statuses] == ["error"]

    def test_leaves_no_scratch_behind(self, work: Workspace):
        work.freeze(work.base)
        assert sorted(path.name for path in (work.root / "build").iterdir()) == ["candidate", "input"]

    def test_an_older_input_goes(self, work: Workspace):
        work.input.mkdir(parents=True)
        (work.input / "old.txt").write_text("old")
        work.freeze(work.base)
        assert sorted(path.name for path in work.input.iterdir()) == ["files", INPUT]

    def test_reuses_the_run_that_evaluated_this_input(self, work: Workspace):
        manifest = work.freeze(work.base)
        assert work.reuse == 0
        work.evaluated(manifest["fingerprint"], 41)
        work.freeze(work.base)
        assert work.reuse == 41
        assert work.statuses[-1] == (work.base, "pending", "evaluated before, in run 41")
        work.freeze(work.changed(**{"data/raw/rows.jsonl": rows_file(raw_rows("classification", 63))}))
        assert work.reuse == 0

    def test_an_expired_adapter_is_trained_again_and_says_where_it_was(self, work: Workspace, capfd: Any):
        fingerprint = work.freeze(work.base)["fingerprint"]
        work.evaluated(fingerprint, 41, expired=True)
        capfd.readouterr()
        work.freeze(work.base)
        assert work.reuse == 0
        said = capfd.readouterr().err
        assert "W610 https://github.com/acme/demo/actions/runs/41" in said and "expired" in said

    def test_github_out_of_reach_is_no_input(self, work: Workspace):
        work.github.fail("GET", "/actions/artifacts", 502, times=99)
        work.check_out(work.base)
        with pytest.raises(StorageFault):
            freeze(work.project, work.base, "7", "repository")
        assert [state for _, state, _ in work.statuses] == ["error"]
        assert not work.output.exists()

    @pytest.mark.parametrize(
        "values",
        [
            {"sha": "a" * 39},
            {"sha": "main"},
            {"sha": "a" * 40 + "\n"},
            {"pr": "7; id"},
            {"pr": "-1"},
            {"source": ""},
            {"source": "Fork"},
        ],
    )
    def test_values_from_the_environment_are_not_trusted(self, work: Workspace, values: dict[str, str]):
        with pytest.raises(FinetuneError) as failure:
            freeze(work.project, **{"sha": work.base, "pr": "7", "source": "repository", **values})
        assert failure.value.code in ("E603", "E629")
        assert work.github.calls() == []


class TestRefused:
    @pytest.mark.parametrize(("path", "mode"), [
        ("data/raw/passwd.jsonl", LINK), ("data/raw/sub", SUBMODULE), ("configs/training_config.yaml", LINK),
        ("finetune/config", LINK), ("finetune/data/link.py", LINK), ("scripts", SUBMODULE),
        ("task_definition.yaml", LINK), ("data", LINK), ("data/raw", SUBMODULE), ("constraints.txt", LINK),
    ])  # fmt: skip
    def test_a_link_or_submodule_is_refused_by_its_name(self, work: Workspace, path: str, mode: str):
        shutil.rmtree(work.change.root / path) if (work.change.root / path).is_dir() else None
        assert (path, "E616", None) in work.refused(work.with_entry(path, mode, b"/etc/passwd"))

    @pytest.mark.parametrize(
        "name", ["a\nb.jsonl", "a:b.jsonl", 'a"b.jsonl', "a\\b.jsonl", "\u202eab.jsonl", "a|.jsonl"]
    )
    def test_an_unsafe_name_is_refused_and_shown_escaped(self, work: Workspace, name: str):
        sha = work.with_entry(f"data/raw/{name}", REGULAR, b"{}")
        [(path, code, _)] = work.refused(sha)
        assert code == "E617" and path.isascii() and path.isprintable()

    @pytest.mark.parametrize("name", ["--help.jsonl", "$(id).jsonl"])
    def test_names_that_a_shell_would_read_are_refused_by_the_data_checks(self, work: Workspace, name: str):
        rows = rows_file([{"input": "other", "label": "billing"}]).encode()
        assert ("E148", None) in [
            (code, key) for _, code, key in work.refused(work.with_entry(f"data/raw/{name}", REGULAR, rows))
        ]

    def test_a_link_where_nothing_is_read_is_left_alone(self, work: Workspace):
        manifest = work.freeze(work.with_entry("docs/link.md", LINK, b"/etc/passwd"))
        assert list(manifest["files"]) == FROZEN

    def test_an_executable_is_only_its_bytes(self, work: Workspace):
        rows = rows_file([{"input": "a new case of a parcel", "label": "shipping"}]).encode()
        manifest = work.freeze(work.with_entry("data/raw/more.jsonl", EXECUTABLE, rows))
        assert manifest["files"]["data/raw/more.jsonl"]["bytes"] == len(rows)
        assert (work.input / "files/data/raw/more.jsonl").stat().st_mode & 0o111 == 0

    def test_bad_records_end_with_exit_2_and_annotations(self, work: Workspace, monkeypatch: Any, capfd: Any):
        rows = [*raw_rows("classification"), {"input": "::error::x", "label": "unknown\n::warning::"}]
        sha = work.changed(**{"data/raw/rows.jsonl": rows_file(rows)})
        work.check_out(sha)
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        assert run(freeze, project=work.root, sha=sha, pr="7", source="repository") == 2
        commands = [line for line in capfd.readouterr().out.splitlines() if line.startswith("::")]
        assert len(commands) == 1 and commands[0].startswith("::error file=data/raw/rows.jsonl,line=61,title=E135::")
        work.nothing_came_of_it(sha)

    def test_no_data_at_all(self, work: Workspace):
        assert [code for _, code, _ in work.refused(work.changed(**{"data/raw/rows.jsonl": None}))] == ["E102"]

    def test_an_lfs_pointer_is_not_the_data(self, work: Workspace):
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
        assert work.refused(work.changed(**{"data/raw/big.jsonl": pointer})) == [("data/raw/big.jsonl", "E144", None)]

    def test_a_file_beyond_the_limit_is_not_even_read(self, work: Workspace):
        work.check_out(work.base)
        with open(work.root / "build/candidate/data/raw/rows.jsonl", "r+b") as file:
            file.truncate(10 * 2**30)  # sparse: no disk is used, reading it would take minutes
        with pytest.raises(BadInput, match=r"data/raw/rows\.jsonl: E618 10,737,418,240 bytes"):
            freeze(work.project, work.base, "7", "repository")
        work.nothing_came_of_it(work.base)

    def test_another_commit_than_the_one_asked_for(self, work: Workspace):
        other = work.changed(**{"README.md": "other"})
        work.check_out(other)
        with pytest.raises(FinetuneError, match="E622"):
            freeze(work.project, work.base, "7", "repository")
        work.nothing_came_of_it(work.base)

    def test_a_candidate_that_is_no_checkout_does_not_become_main(self, work: Workspace):
        (work.root / "build" / "candidate").mkdir(parents=True)
        with pytest.raises(FinetuneError, match="E622"):
            freeze(work.project, work.base, "7", "repository")
        work.nothing_came_of_it(work.base)

    @pytest.mark.parametrize(("key", "value", "code"), [
        ("trust_remote_code", True, "E206"), ("base_model.trust_remote_code", True, "E206"),
        ("chat_template", "{{ x }}", "E206"), ("base_model.id", "https://evil.example/model", "E223"),
        ("base_model.id", "../../../etc", "E223"), ("base_model.id", "/etc/passwd", "E223"),
        ("base_model.revision", "main", "E624"), ("base_model.id", "models/base/own", "E624"),
        ("base_model.revision", "../main", "E223"),
    ])  # fmt: skip
    @pytest.mark.parametrize("source", ["repository", "fork"])
    def test_a_model_from_elsewhere_or_code_of_its_own(
        self, work: Workspace, key: str, value: Any, code: str, source: str
    ):
        found = work.refused(work.edited(TRAINING, key, value), source)
        assert (TRAINING, code, key) in found

    def test_a_thousand_epochs_are_refused_with_the_estimate(self, work: Workspace):
        sha = work.edited(TRAINING, "optimiser.epochs", 1000)
        work.check_out(sha)
        with pytest.raises(BadInput) as failure:
            freeze(work.project, sha, "7", "repository")
        [problem] = failure.value.problems.errors
        convert(load_project(work.change.root))
        rows = len((work.change.root / "data/chat_format/train.jsonl").read_text().splitlines())
        assert (problem.path, problem.code, problem.key) == (TRAINING, "E625", "optimiser.epochs")
        assert f"{-(-rows // 8) * 1000:,} steps" in problem.message
        assert f"{rows * 1000 * 512:,} tokens" in problem.message
        assert f"budget is {4 * rows * 10 * 512:,}" in problem.message
        work.nothing_came_of_it(sha)

    def test_the_budget_is_mains_not_the_candidates(self, work: Workspace):
        work.edited(TRAINING, "checks.epochs", [1, 1000])
        assert [code for _, code, _ in work.refused(work.edited(TRAINING, "optimiser.epochs", 1000))] == ["E625"]

    @pytest.mark.parametrize(("epochs", "length", "passes"), [(40, 512, True), (41, 512, False), (21, 1024, False)])
    def test_epochs_and_length_share_one_budget(self, work: Workspace, epochs: float, length: int, passes: bool):
        work.edited(TRAINING, "max_length", length)
        work.edited(BENCHMARK, "generation.context", 2048)
        sha = work.edited(TRAINING, "optimiser.epochs", epochs)
        if passes:
            assert work.freeze(sha)["sha"] == sha
        else:
            assert [code for _, code, _ in work.refused(sha)] == ["E625"]

    def test_no_number_of_rows_lifts_the_last_cap(self, work: Workspace):
        config = work.project.training
        most = int(MAX_TOKENS / config.optimiser.epochs / config.max_length)
        for rows, found in ((most, []), (most + 1, ["E625"])):
            problems = Problems()
            check_budget(work.project, work.project, rows, problems)
            assert [problem.code for problem in problems.errors] == found
