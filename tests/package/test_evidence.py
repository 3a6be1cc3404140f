"""Evidence: nothing is done without it, and what changed afterwards is evidence no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from msgspec import structs

from conftest import raw_rows
from finetune.config.project import Project
from finetune.data.report.schema import Groups
from finetune.data.splits import allowance
from finetune.data.stage import validate
from finetune.errors import OK, GateFailed
from finetune.evidence import generation
from finetune.evidence.checklist import update
from finetune.evidence.facts import Facts
from finetune.evidence.registry import EVIDENCE
from finetune.provenance import read_manifest, write_json
from pipeline_fakes import (
    Oracle,
    decide,
    losses,
    statuses,
    with_adapter,
    with_data,
    with_exports,
    write_receipts,
)
from reports import rewrite

MakeProject = Callable[..., Project]
LAST = {4: 16, 5: 14, 6: 18, 7: 7}
WATCHED = [f"3.{n}" for n in range(2, 20)] + [f"{phase}.{n}" for phase in LAST for n in range(1, LAST[phase] + 1)]
CONFIG_ONLY = ("3.14", "4.7", "4.8")
"""Items of later phases that the configuration alone decides."""


@pytest.fixture
def with_report(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """The real step 04 over answers of an oracle: `with_report(project, wrong=2)`."""
    from finetune.evaluation import predictions, stage

    def run(project: Project, wrong: int = 0) -> Project:
        def backend(project: Project, artefact: str) -> Oracle:
            return Oracle(project, wrong if artefact == "adapter" else 6)

        monkeypatch.setattr(predictions, "open_backend", backend)
        try:
            stage.evaluate(project)
        except GateFailed:
            assert wrong
        return project

    return run


def test_without_evidence_nothing_is_ticked(make_project: MakeProject) -> None:
    results = decide(make_project())
    ticked = [id for id in WATCHED if id not in CONFIG_ONLY and results[id].status == "done"]
    assert ticked == []
    assert [id for id in WATCHED if not results[id].finding.text] == []


def test_definition_and_data_tick_their_phases(make_project: MakeProject) -> None:
    project = make_project(task={"metrics": {"secondary": ["accuracy"]}})
    before = statuses(decide(project), 3)
    assert before["3.1"] == "done" and before["3.4"] == before["3.12"] == before["3.16"] == "open"
    results = decide(with_data(project))
    assert set(statuses(results, 1).values()) == {"done"}
    assert set(statuses(results, 3).values()) == {"done"}
    assert results["3.4"].finding.text.startswith("60 of 60 rows accepted, 0 errors")


@pytest.mark.parametrize("task_type", ["extraction", "generation"])
def test_the_data_phase_fits_every_task_type(make_project: MakeProject, task_type: str) -> None:
    assert set(statuses(decide(with_data(make_project(task_type))), 3).values()) == {"done"}


def test_new_raw_data_reopens_what_was_made_of_the_old(make_project: MakeProject) -> None:
    project = with_data(make_project())
    with open(project.paths.raw / "more.jsonl", "w", encoding="utf-8") as file:
        file.write('{"input": "one more parcel", "label": "shipping"}\n')
    found = statuses(decide(project), 3)
    assert found["3.1"] == "done"
    assert {found[id] for id in ("3.2", "3.4", "3.8", "3.12", "3.16", "3.19")} == {"open"}


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_tampered_split_reopens_the_conversion(make_project: MakeProject, name: str) -> None:
    project = with_data(make_project())
    path = getattr(project.paths, name)
    path.write_bytes(path.read_bytes().replace(b"case", b"Case", 1))
    results = decide(project)
    assert {results[id].status for id in ("3.12", "3.13", "3.18", "3.19")} == {"open"}
    assert f"{name}.jsonl is not what 02_convert_format.py wrote" in results["3.12"].finding.text


def test_wrong_rows_fail_their_item_and_leave_what_follows_open(make_project: MakeProject) -> None:
    project = make_project(rows=[{"input": "a", "label": "billing"}, {"input": "b"}, {"input": "c", "label": "none"}])
    assert validate(project) != OK
    results = decide(project)
    assert results["3.4"].status == "failed"
    assert results["3.6"].status == "failed" and "data/raw/rows.jsonl:2 E121" in results["3.6"].finding.text
    assert results["3.5"].status == "done" and results["3.7"].status == "open"
    assert results["3.3"].finding.status == results["3.9"].status == "failed"


def test_imbalance_asks_for_a_remedy(make_project: MakeProject) -> None:
    rows = [{"input": f"text number {n}", "label": "billing" if n % 10 else "shipping"} for n in range(300)]
    rows += [{"input": f"other text {n}", "label": "account"} for n in range(30)]
    project = make_project(rows=rows)
    validate(project)
    results = decide(project)
    assert results["3.10"].status == "failed" and "9.00:1, limit 3:1" in results["3.10"].finding.text
    assert results["3.11"].status == "open"
    results = decide(with_data(make_project(rows=rows, task={"data": {"balance": "oversample"}})))
    assert results["3.11"].status == "done" and "copies" in results["3.11"].finding.text


def test_a_broken_configuration_is_a_finding_not_an_end(make_project: MakeProject) -> None:
    project = make_project()
    file = project.paths.task_definition
    file.write_text(file.read_text(encoding="utf-8").replace("threshold: 0.8", "threshold: 1.8"), encoding="utf-8")
    results = decide(project)
    assert results["1.7"].status == "failed" and "task_definition.yaml:" in results["1.7"].finding.text
    assert results["2.4"].status == "failed"
    assert results["1.1"].status == results["3.4"].status == results["5.4"].status == "open"
    assert update(project.paths.root) == OK


def test_an_adapter_of_todays_data_and_configuration_ticks_the_training_phase(make_project: MakeProject) -> None:
    results = decide(with_adapter(with_data(make_project())))
    assert set(statuses(results, 4).values()) == {"done"}
    assert "2.000 → 0.900" in results["4.10"].finding.text


def test_a_tampered_adapter_reopens_the_training_phase(make_project: MakeProject) -> None:
    project = with_adapter(with_data(make_project()))
    (project.paths.adapter / "adapter_model.safetensors").write_bytes(b"\1\3")
    found = statuses(decide(project), 4)
    assert {status for id, status in found.items() if id not in CONFIG_ONLY} == {"open"}


def test_a_changed_setting_reopens_the_training_phase_by_name(make_project: MakeProject) -> None:
    with_adapter(with_data(make_project()))
    results = decide(make_project(training={"optimiser": {"epochs": 3}}))
    assert results["4.3"].status == "open" and "optimiser.epochs changed" in results["4.3"].finding.text


def test_values_outside_the_checked_range_fail(make_project: MakeProject) -> None:
    project = make_project(training={"optimiser": {"learning_rate": 0.5, "epochs": 50}})
    results = decide(project)
    assert results["4.7"].status == results["4.8"].status == "failed"


@pytest.mark.parametrize(
    ("log", "item"),
    [
        (losses(1.0, 1.0, 1.1, 1.2, 1.3), "4.10"),
        ([*losses(2.0, 1.0), {"step": 3, "loss": float("nan")}], "4.13"),
        ([*losses(2.0, 1.0), *({"step": n, "eval_loss": n / 1.0} for n in range(3, 8))], "4.11"),
    ],
)
def test_an_unsound_run_fails_its_item(make_project: MakeProject, log: list[dict[str, float]], item: str) -> None:
    assert decide(with_adapter(with_data(make_project()), log))[item].status == "failed"


def test_overfitting_stays_open_with_the_setting_to_change(make_project: MakeProject) -> None:
    log = [*losses(2.0, 1.5, 1.0, 0.5), {"step": 5, "eval_loss": 0.9}]
    result = decide(with_adapter(with_data(make_project()), log))["4.14"]
    assert result.status == "open" and "lora.dropout" in result.finding.text


def test_recovered_shortages_are_recorded_and_ask_for_another_batch(make_project: MakeProject) -> None:
    shortage = {"from_per_device": 4, "to_per_device": 2, "message": "CUDA out of memory"}
    results = decide(with_adapter(with_data(make_project()), recovered=[shortage]))
    assert results["4.12"].status == "done" and "4 → 2" in results["4.12"].finding.text
    assert results["4.9"].status == "failed" and results["4.16"].status == "open"


def test_a_passed_evaluation_ticks_its_phase(make_project: MakeProject, with_report: Callable[..., Project]) -> None:
    results = decide(with_report(with_adapter(with_data(make_project()))))
    assert set(statuses(results, 5).values()) == {"done"}
    assert results["5.4"].finding.text.startswith("macro_f1 1.00 ≥ 0.80")
    assert results["7.2"].status == "done"


def test_a_missed_target_fails_and_its_remedies_stay_open(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    results = decide(with_report(with_adapter(with_data(make_project())), wrong=6))
    assert results["5.4"].status == results["7.2"].status == "failed"
    assert results["5.11"].status == "done"
    assert {results[id].status for id in ("5.12", "5.13", "5.14")} == {"open"}


def test_a_verdict_of_another_threshold_proves_nothing(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    project = with_report(with_adapter(with_data(make_project())))
    assert decide(project)["5.4"].status == "done"
    stricter = make_project(task={"metrics": {"threshold": 0.999}})
    assert decide(stricter)["5.4"].status == "open"


def test_an_edited_report_is_caught_by_the_kept_predictions(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    project = with_report(with_adapter(with_data(make_project())), wrong=6)
    rewrite(project, lambda values: values["primary"].update(value=0.99, passed=True))
    result = decide(project)["5.4"]
    assert result.status == "failed" and "the kept predictions give" in result.finding.text


def test_a_report_of_another_adapter_proves_nothing(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    project = with_report(with_adapter(with_data(make_project())))
    with_adapter(project, losses(3.0, 1.5, 1.2, 1.0, 0.9))
    assert set(statuses(decide(project), 5).values()) == {"open"}


def test_a_damaged_report_fails_instead_of_raising(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    project = with_report(with_adapter(with_data(make_project())))
    values = yaml.safe_load(project.paths.report_yaml.read_text(encoding="utf-8"))
    project.paths.report_yaml.write_text(yaml.safe_dump({**values, "errors": 3, "primary": []}), encoding="utf-8")
    results = decide(project)
    assert results["5.4"].status == results["5.7"].status == "failed"
    assert "damaged" in results["5.7"].finding.text


def test_exports_count_when_they_are_of_this_adapter_and_within_tolerance(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    project = with_exports(with_report(with_adapter(with_data(make_project()))))
    results = decide(project)
    local = ("6.1", "6.3", "6.4", "6.5", "6.6", "6.18")
    assert {id: results[id].finding.text for id in local if results[id].status != "done"} == {}
    with_report(with_adapter(project, losses(3.0, 1.5, 1.2, 1.0, 0.9)))
    assert {decide(project)[id].status for id in local} == {"open"}


def test_what_no_step_has_run_stays_open_with_the_reason(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    results = decide(with_exports(with_report(with_adapter(with_data(make_project())))))
    later = ("6.7", "6.13", "6.14", "6.15", "6.16", "6.17", "7.4", "7.5", "7.6")
    assert {results[id].status for id in later} == {"open"}
    assert results["6.2"].status == "open" and "loaded by transformers" in results["6.2"].finding.text
    assert "vLLM" in results["6.17"].finding.text and "ollama" in results["6.7"].finding.text


def test_a_loss_beyond_todays_tolerance_fails_whatever_the_row_says(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    with_exports(with_report(with_adapter(with_data(make_project()))), {"Q8_0": {"value": 0.9, "difference": -0.1}})
    stricter = {"tolerances": {"merged": 0.01, "f16": 0.01, "Q8_0": 0.01}}
    results = decide(make_project(benchmark=stricter))
    assert results["6.3"].status == "done" and results["6.18"].status == "failed"


def test_receipts_count_for_exactly_the_files_here(
    make_project: MakeProject, with_report: Callable[..., Project]
) -> None:
    project = with_exports(with_report(with_adapter(with_data(make_project()))))
    write_receipts(project)
    results = decide(project)
    assert {results[id].status for id in ("6.8", "6.9", "6.10", "6.11", "6.12")} == {"done"}
    (project.paths.merged / "model.safetensors").write_bytes(b"\4")
    results = decide(project)
    assert results["6.9"].status == "done" and results["6.11"].status == results["6.12"].status == "open"


def test_the_last_phase_names_what_is_missing(make_project: MakeProject) -> None:
    result = decide(make_project())["7.1"]
    assert result.status == "failed" and "2.2" in result.finding.text


def test_a_real_training_run_is_read_as_it_is_written(make_project: MakeProject) -> None:
    pytest.importorskip("peft")
    from finetune.training.trainer import train

    project = with_data(make_project(base=True))
    train(project)
    results = decide(project)
    damaged = [result for result in results.values() if "damaged" in result.finding.text]
    assert damaged == []
    assert {results[id].status for id in ("4.1", "4.2", "4.3", "4.5", "4.6", "4.9", "4.10", "4.12", "4.13")} == {"done"}


def test_scripts_must_start_without_the_extras(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "good.py").write_text("import argparse\nargparse.ArgumentParser().parse_args()\n", encoding="utf-8")
    assert generation.scripts_run(Facts(tmp_path)).status == "done"
    (scripts / "heavy.py").write_text("import torch\n", encoding="utf-8")
    finding = generation.scripts_run(Facts(tmp_path))
    assert finding.status == "failed" and "heavy.py ModuleNotFoundError" in finding.text


def test_splits_are_judged_as_step_01_judges_them(make_project: MakeProject) -> None:
    """One tolerance: what step 01 calls chance is no fault here, and groups stay whole, however large."""
    project = with_data(make_project(rows=raw_rows("classification", 400)))
    manifest = read_manifest(project.paths.data_manifest)
    assert manifest is not None
    found = Facts(project.paths.root)
    splits = project.benchmark.splits
    spare = allowance(splits.train, 400)
    chance = {"train": int(400 * (splits.train - spare)) + 1}
    chance["valid"] = (400 - chance["train"]) // 2
    chance["test"] = 400 - chance["train"] - chance["valid"]
    three = 3 * (splits.train * (1 - splits.train) / 400) ** 0.5
    assert splits.train - chance["train"] / 400 > three, "further than three deviations, nearer than three and a half"
    for rows, grouped, status in (
        (chance, 0, "done"),
        ({"train": 399, "valid": 1, "test": 0}, 0, "failed"),
        ({"train": 399, "valid": 1, "test": 0}, 7, "done"),
    ):
        write_json(project.paths.data_manifest, {**manifest.model_dump(), "facts": {**manifest.facts, "rows": rows}})
        facts = Facts(project.paths.root)
        facts.__dict__["data_report"] = structs.replace(found.data_report, groups=Groups(grouped, grouped))
        assert EVIDENCE["splits"](facts).status == status
