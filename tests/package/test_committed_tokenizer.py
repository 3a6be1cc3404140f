"""configs/tokenizer: made from the base model, used only for the model it names, compared before training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_package
from bad_inputs import judge
from finetune import provenance
from finetune.config.project import Project, load_project
from finetune.console import run
from finetune.data.tokens.base_tokenizer import find_base_tokenizer
from finetune.data.tokens.committed_tokenizer import FILES, committed_fault
from finetune.errors import FinetuneError, Problems, StorageFault
from finetune.training import base_download, tokenizer_files
from finetune.training.base_model import resolve_base
from finetune.training.tokenizer_files import compare_committed, fetch_tokenizer
from repository import ROOT
from tokenizer_kinds import edit

Make = Callable[..., Project]
HUB = {"base_model": {"id": "acme/small", "revision": "c" * 40}}
NOTHING_HEAVY = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "huggingface_hub", "httpx2", "numpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import runpy
sys.argv = ["scripts/01_validate_data.py", *sys.argv[1:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def project(make_project: Make) -> Project:
    """Base model on the disk, its tokenizer committed."""
    made = make_project(base=True)
    assert fetch_tokenizer(made) == 0
    return made


def files(folder: Path) -> dict[str, str]:
    return {path.name: provenance.sha256(path) for path in folder.iterdir()}


def test_the_folder_holds_the_base_models_small_files_and_names_them(project: Project) -> None:
    folder, base = project.paths.tokenizer, resolve_base(project)
    held = {name for name in FILES if (base.path / name).is_file()}
    assert set(files(folder)) == {*held, "manifest.json"} and "tokenizer.json" in held
    assert all((folder / name).read_bytes() == (base.path / name).read_bytes() for name in held)
    manifest = provenance.read_manifest(folder / "manifest.json")
    assert manifest and manifest.facts == {"id": "models/base/tiny", "revision": "0" * 40, "made_of": "0" * 40}
    assert {name: file.sha256 for name, file in manifest.outputs.items()} == {
        name: provenance.sha256(base.path / name) for name in held
    }


def test_a_second_run_changes_nothing_and_a_damaged_folder_is_made_anew(project: Project, capsys) -> None:
    before = files(project.paths.tokenizer)
    assert fetch_tokenizer(project) == 0 and "up to date" in capsys.readouterr().err
    (project.paths.tokenizer / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert fetch_tokenizer(project) == 0 and "wrote configs/tokenizer" in capsys.readouterr().err
    assert files(project.paths.tokenizer) == before
    assert [path.name for path in project.paths.tokenizer.parent.iterdir() if path.name.startswith(".")] == []


def test_a_run_that_fails_leaves_the_old_files(project: Project, monkeypatch) -> None:
    before = files(project.paths.tokenizer)
    edit(project.paths.base / "tiny", "tokenizer_config.json", extra=1)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokenizer_files.provenance, "write_manifest", full)
    with pytest.raises(OSError):
        fetch_tokenizer(project)
    assert files(project.paths.tokenizer) == before


def test_it_is_looked_for_first_and_only_for_the_model_it_names(project: Project) -> None:
    found = find_base_tokenizer(project)
    assert found and found.folder == project.paths.tokenizer
    shutil.rmtree(project.paths.base)
    assert (again := find_base_tokenizer(project)) and again.folder == project.paths.tokenizer


@pytest.mark.parametrize("changed", [{"id": "acme/small"}, {"revision": "1" * 40}])
def test_files_of_another_model_are_said_and_not_used(project: Project, capsys, changed: dict[str, str]) -> None:
    file = project.paths.training_config
    old, new = {"id": ("models/base/tiny", "acme/small"), "revision": ("0" * 40, "1" * 40)}[next(iter(changed))]
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    found = find_base_tokenizer(load_project(project.paths.root))
    assert not found or found.folder != project.paths.tokenizer
    code, problems, _ = judge(project.paths.root, capsys)
    assert code == 0 and [(p["code"], p["path"]) for p in problems] == [("W244", "configs/tokenizer")]
    assert new[:12] in problems[0]["message"] and "scripts/fetch_tokenizer.py" in problems[0]["fix"]


def _link(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("/proc/self/environ")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda folder: (folder / "manifest.json").write_text("[" * 9999), "missing or damaged"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json has other bytes"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is no file"),
        (lambda folder: (folder / "special_tokens_map.json").write_text("{}"), "special_tokens_map.json is no file"),
        (_link, "tokenizer.json is no file"),
    ],
)
def test_files_that_are_not_those_of_the_manifest_are_not_used(project: Project, capsys, damage, says: str) -> None:
    damage(project.paths.tokenizer)
    assert says in committed_fault(project)
    _, problems, said = judge(project.paths.root, capsys)
    assert [p["code"] for p in problems] == ["W244"] and "models/base/tiny" not in said.replace("not checked", "")


def test_a_name_in_the_manifest_cannot_write_into_the_log(project: Project, capsys) -> None:
    file = project.paths.tokenizer / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest["facts"]["id"] = "x\n::error::y\x1b[31m"
    file.write_text(json.dumps(manifest), encoding="utf-8")
    assert committed_fault(project).isprintable()


def test_a_smoke_run_of_another_model_says_nothing_of_it(make_project: Make, capsys) -> None:
    project = make_project(base=True, training=HUB)
    smoke = {"training": {"base_model": {"id": "models/base/tiny", "revision": "0" * 40}}}
    project.paths.smoke_config.write_text(json.dumps(smoke), encoding="utf-8")
    shutil.copytree(project.paths.base / "tiny", project.paths.tokenizer)
    from finetune.data.stage import validate

    assert run(validate, project=project.paths.root, smoke=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


# Where it comes from


def test_from_the_hub_without_weights_and_without_touching_its_cache(
    make_project: Make, tiny_base, monkeypatch
) -> None:
    project, asked = make_project(training=HUB), []

    def download(model_id: str, revision: str, patterns: list[str], folder: Path) -> str:
        asked.append((model_id, revision, patterns))
        for name in patterns:
            if (tiny_base / name).is_file():
                shutil.copyfile(tiny_base / name, folder / name)
        return str(folder)

    monkeypatch.setattr(tokenizer_files, "download", download)
    assert fetch_tokenizer(project) == 0
    assert asked == [("acme/small", "c" * 40, list(FILES))]
    assert committed_fault(project) == "" and find_base_tokenizer(project)


def test_the_client_puts_the_files_into_the_folder(tmp_path: Path, monkeypatch) -> None:
    import huggingface_hub

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **options: calls.append(options) or "x")
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: None)  # the Hub answers
    base_download.download("acme/small", "c" * 40, patterns=["tokenizer.json"], folder=tmp_path)
    assert [(call["local_dir"], call["allow_patterns"]) for call in calls] == [(tmp_path, ["tokenizer.json"])]
    assert "local_files_only" not in calls[0], "the cache was asked, which may hold the weights' snapshot"


def test_without_hub_and_package_nothing_is_written(make_project: Make, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    project = make_project(training=HUB)
    with pytest.raises(StorageFault, match="E972"):
        fetch_tokenizer(project)
    assert not project.paths.tokenizer.exists()


def test_from_the_package_where_there_is_no_hub(make_project: Make, tmp_path: Path, monkeypatch) -> None:
    tiny_package.install(tmp_path / "site", monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    smol = tiny_package.SMOL
    project = make_project(training={"base_model": {"id": smol, "revision": "c" * 40}})
    assert fetch_tokenizer(project) == 0
    assert committed_fault(project) == ""
    manifest = provenance.read_manifest(project.paths.tokenizer / "manifest.json")
    assert manifest and manifest.facts == {
        "id": smol,
        "revision": "c" * 40,
        "made_of": f"package:{tiny_package.NAME}",
    }


def test_a_model_without_tokenizer_json_is_refused(make_project: Make) -> None:
    project = make_project(base=True)
    (project.paths.base / "tiny" / "tokenizer.json").unlink()
    with pytest.raises(FinetuneError, match=r"E246 models/base/tiny has no tokenizer\.json"):
        fetch_tokenizer(project)


# Before training


def compared(project: Project) -> tuple[Any, list[str]]:
    problems = Problems()
    line = compare_committed(project, resolve_base(project), problems)
    return line, [problem.code for problem in problems.all]


def test_the_same_files_are_a_line_of_preflight(project: Project) -> None:
    assert compared(project) == ((True, "configs/tokenizer is that of the base model"), [])
    shutil.rmtree(project.paths.tokenizer)
    assert compared(project) == (None, [])


def test_other_control_tokens_or_another_template_stop_the_training(project: Project) -> None:
    base = project.paths.base / "tiny"
    template = base / "chat_template.jinja"
    original = template.read_text(encoding="utf-8")
    template.write_text(original + " ", encoding="utf-8")
    line, codes = compared(project)
    assert codes == ["E245"] and line[0] is False
    template.write_text(original, encoding="utf-8")
    tokens = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    edit(base, "tokenizer.json", added_tokens=tokens[:-1])
    assert compared(project)[1] == ["E245"]
    (base / "tokenizer.json").unlink()
    assert compared(project)[1] == ["E245"]


def test_other_bytes_with_the_same_tokens_warn(project: Project) -> None:
    edit(project.paths.base / "tiny", "tokenizer.json", truncation=None)
    line, codes = compared(project)
    assert codes == ["W245"] and line[0] is True


def test_files_of_another_model_warn_before_training_too(project: Project) -> None:
    edit(project.paths.tokenizer, "manifest.json", facts={"id": "acme/other", "revision": "0" * 40})
    assert compared(project)[1] == ["W244"]


def test_preflight_asks(project: Project) -> None:
    import torch

    from finetune.errors import BadInput
    from finetune.training.preflight import preflight

    (project.paths.base / "tiny" / "chat_template.jinja").write_text("other", encoding="utf-8")
    with pytest.raises(BadInput, match="E245") as failure:
        preflight(
            project,
            resolve_base(project),
            device="cpu",
            dtype=torch.float32,
            reason="a test",
            tokens=512,
            checkpointing=False,
        )
    assert [problem.path for problem in failure.value.problems.errors] == ["configs/tokenizer"]


# The data job: no model, no torch, no huggingface_hub


def test_with_it_every_check_is_done_where_there_is_neither_model_nor_torch(project: Project, tmp_path: Path) -> None:
    shutil.rmtree(project.paths.base)
    bad = [{"input": text, "label": "billing"} for text in ("a <file_sep> b", "why " * 90)]
    text = "".join(json.dumps(one) + "\n" for one in bad)
    (project.paths.raw / "bad.jsonl").write_text(text, encoding="utf-8")
    edit_length(project, 100)
    done = subprocess.run(
        [sys.executable, "-c", NOTHING_HEAVY, "--project", str(project.paths.root), "--json"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ".:scripts", "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "not checked" not in done.stderr
    problems = json.loads(done.stdout)["problems"]
    assert [(p["code"], p["line"]) for p in problems if p["path"].endswith("bad.jsonl")] == [("E130", 1), ("E139", 2)]
    report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))["row_checks"]
    done_checks = {name: report[name]["status"] for name in ("control_tokens", "template_proof", "token_lengths")}
    assert set(done_checks.values()) == {"done"}
    assert report["token_lengths"]["over"] == 1


def edit_length(project: Project, limit: int) -> None:
    file = project.paths.training_config
    text = file.read_text(encoding="utf-8").replace("max_length: 512", f"max_length: {limit}")
    file.write_text(text, encoding="utf-8")
