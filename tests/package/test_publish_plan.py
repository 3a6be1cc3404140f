"""What would be published, and every reason not to publish it; no network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from finetune.config.project import Project, load_project
from finetune.errors import BAD_INPUT, GATE_FAILED, OK, FinetuneError, Problems
from finetune.evaluation.report import read_report
from finetune.hub import publish as publishing
from finetune.hub.checks import check_release
from finetune.hub.plan import resolve_version
from finetune.hub.publish import PLACEHOLDER, publish
from finetune.provenance import sha256, write_json
from release_tree import make_release, measure, refresh

Change = Callable[[Project], None]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "repository"
    make_release(root)
    return root


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Project:
    shutil.copytree(finished, tmp_path / "repository")
    return load_project(tmp_path / "repository")


def codes(project: Project) -> set[str]:
    problems = Problems()
    check_release(project, read_report(project), problems)
    return {problem.code for problem in problems.errors}


def edit_report(project: Project, edit: Callable[[dict], None]) -> None:
    values = yaml.safe_load(project.paths.report_yaml.read_text(encoding="utf-8"))
    edit(values)
    project.paths.report_yaml.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def test_dry_run_writes_cards_and_the_exact_plan_without_a_token(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(publishing, "find_credentials", lambda: pytest.fail("a dry run asked for a token"))
    assert publish(project, dry_run=True, version="v1.2.3") == OK
    plan = json.loads((project.paths.publish_plan / "plan.json").read_text(encoding="utf-8"))
    assert plan["tag"] == "v1.2.3"
    assert [r["repo"] for r in plan["repositories"]] == ["acme/small-lora", "acme/small-gguf", "acme/small"]
    files = {r["kind"]: [file["path"] for file in r["files"]] for r in plan["repositories"]}
    assert files == {
        "adapter": [
            "README.md", "adapter_config.json", "adapter_model.safetensors", "release_manifest.json",
            "training_log.jsonl", "training_manifest.json",
        ],
        "gguf": [
            "Modelfile", "README.md", "params", "release_manifest.json", "small-task-Q8_0.gguf", "small-task-f16.gguf",
            "system", "template",
        ],
        "merged": [
            "README.md", "config.json", "generation_config.json", "model.safetensors", "release_manifest.json",
            "tokenizer.json", "tokenizer_config.json",
        ],
    }  # fmt: skip
    for repository in plan["repositories"]:
        for file in repository["files"]:
            source = project.paths.root / file["source"]
            assert (file["bytes"], file["sha256"]) == (source.stat().st_size, sha256(source))


def test_the_same_release_gives_the_same_plan(project: Project) -> None:
    def planned() -> bytes:
        publish(project, dry_run=True, version="1.0.0")
        return (project.paths.publish_plan / "plan.json").read_bytes()

    assert planned() == planned()


def change_weights(project: Project) -> None:
    (project.paths.merged / "model.safetensors").write_bytes(b"other")


def change_weights_and_manifest(project: Project) -> None:
    change_weights(project)
    refresh(project, "merged")
    refresh(project, "gguf")


def retrain(project: Project) -> None:
    (project.paths.adapter / "training_log.jsonl").write_text("{}\n", encoding="utf-8")
    refresh(project, "adapter")


def ship_code(project: Project) -> None:
    (project.paths.merged / "modeling_evil.py").write_text("print()", encoding="utf-8")
    refresh(project, "merged")


def ship_auto_map(project: Project) -> None:
    write_json(project.paths.merged / "config.json", {"auto_map": {"AutoModel": "evil.Model"}})
    refresh(project, "merged")


def ship_pickle(project: Project) -> None:
    (project.paths.adapter / "training_args.bin").write_bytes(b"\x80")
    refresh(project, "adapter")


def change_prompt(project: Project) -> None:
    values = yaml.safe_load(project.paths.task_definition.read_text(encoding="utf-8"))
    values["system_prompt"] = "Other words.\n{labels}"
    project.paths.task_definition.write_text(yaml.safe_dump(values), encoding="utf-8")


def raise_threshold(project: Project) -> None:
    values = yaml.safe_load(project.paths.task_definition.read_text(encoding="utf-8"))
    values["metrics"]["threshold"] = 0.999
    project.paths.task_definition.write_text(yaml.safe_dump(values), encoding="utf-8")


def edit_row(project: Project, name: str, **values: object) -> None:
    """Change one artefact's row of step 07."""

    def edit(report: dict) -> None:
        next(row for row in report["artefacts"] if row["name"] == name).update(values)

    edit_report(project, edit)


def drop_row(project: Project, name: str) -> None:
    edit_report(project, lambda r: r.update(artefacts=[row for row in r["artefacts"] if row["name"] != name]))


CHANGES: dict[str, tuple[Change, str]] = {
    "no report": (lambda p: p.paths.report_yaml.unlink(), "E801"),
    "verdict failed": (lambda p: edit_report(p, lambda r: r.update(verdict="failed")), "E802"),
    "a gate failed all the same": (lambda p: edit_report(p, lambda r: r["gates"][0].update(passed=False)), "E802"),
    "the threshold was raised": (raise_threshold, "E802"),
    "07 did not run": (lambda p: edit_report(p, lambda r: r.pop("artefacts")), "E803"),
    "one GGUF not verified": (lambda p: drop_row(p, "Q8_0"), "E803"),
    "outside tolerance": (lambda p: edit_row(p, "merged", passed=False), "E804"),
    "other prompt tokens": (lambda p: edit_row(p, "merged", tokens_equal=False), "E804"),
    "shipped without being run": (lambda p: edit_row(p, "f16", status="open", passed=None), "E804"),
    "no merged model": (lambda p: shutil.rmtree(p.paths.merged), "E805"),
    "no Modelfile": (lambda p: (p.paths.gguf / "Modelfile").unlink() or refresh(p, "gguf"), "E805"),
    "file changed": (change_weights, "E806"),
    "file missing": (lambda p: (p.paths.adapter / "adapter_config.json").unlink(), "E806"),
    "merged from another adapter": (retrain, "E806"),
    "GGUF from another merged model": (change_weights_and_manifest, "E806"),
    "changed with its manifest": (change_weights_and_manifest, "E807"),
    "report better than its predictions": (lambda p: edit_row(p, "Q8_0", value=1.0), "E807"),
    "predictions edited": (lambda p: (p.paths.predictions / "f16.jsonl").write_text("", encoding="utf-8"), "E807"),
    "another test set": (lambda p: p.paths.test.write_text(p.paths.test.read_text() + "\n"), "E807"),
    "code": (ship_code, "E808"),
    "auto_map": (ship_auto_map, "E808"),
    "pickle": (ship_pickle, "E808"),
    "stray file": (lambda p: (p.paths.gguf / "old-Q2_K.gguf").write_bytes(b"x"), "E818"),
    "system prompt changed": (change_prompt, "E819"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_refused(name: str, project: Project) -> None:
    assert codes(project) == set()
    change, code = CHANGES[name]
    change(project)
    project = load_project(project.paths.root)
    assert code in codes(project)
    assert publish(project, dry_run=True, version="1.0.0") in (BAD_INPUT, GATE_FAILED)
    assert not project.paths.publish_plan.exists()


def test_all_reasons_are_named_at_once(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    edit_report(project, lambda report: report.update(verdict="failed"))
    ship_code(project)
    shutil.rmtree(project.paths.gguf)
    assert publish(project, dry_run=True, version="1.0.0") == GATE_FAILED
    shown = capsys.readouterr().err
    assert all(code in shown for code in ("E802", "E805", "E808"))


def test_hidden_files_are_neither_published_nor_a_problem(project: Project) -> None:
    (project.paths.gguf / ".made").mkdir()
    (project.paths.gguf / ".made" / "f16.json").write_text("{}", encoding="utf-8")
    assert codes(project) == set()


def test_measuring_again_heals_what_was_not_measured(project: Project) -> None:
    (project.paths.predictions / "f16.jsonl").unlink()
    assert codes(project) == {"E807"}
    measure(project)
    assert codes(project) == set()


def test_smoke_is_never_uploaded(finished: Path) -> None:
    write_json(finished / "configs" / "smoke_config.yaml", {"training": {}})
    with pytest.raises(FinetuneError, match="E816"):
        publish(load_project(finished, smoke=True), version="1.0.0")


def test_the_placeholder_of_the_template_is_no_namespace(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    text = project.paths.task_definition.read_text(encoding="utf-8").replace("acme", PLACEHOLDER)
    project.paths.task_definition.write_text(text, encoding="utf-8")
    placeholder = load_project(project.paths.root)
    assert publish(placeholder, version="1.0.0") == 2
    said = capsys.readouterr().err
    assert "task_definition.yaml: hub.namespace: E331 the models would go to your-namespace" in said
    assert publish(placeholder, version="1.0.0", dry_run=True) == 0
    assert "W331" in capsys.readouterr().err


def test_version_comes_from_the_option_then_from_the_tag(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REF_TYPE", "tag")
    monkeypatch.setenv("GITHUB_REF_NAME", "v2.0.0-rc.1")
    assert resolve_version(project, "v1.0.0", dry_run=False) == "1.0.0"
    assert resolve_version(project, None, dry_run=False) == "2.0.0-rc.1"
    monkeypatch.setenv("GITHUB_REF_TYPE", "branch")
    with pytest.raises(FinetuneError, match="E817"):
        resolve_version(project, None, dry_run=False)


@pytest.mark.parametrize("version", ["1", "1.0", "01.0.0", "1.0.0/../x", "latest", "1.0.0\n", "v1.0.0 --force"])
def test_odd_versions_are_refused(project: Project, version: str) -> None:
    with pytest.raises(FinetuneError, match="E817"):
        resolve_version(project, version, dry_run=True)
