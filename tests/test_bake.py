"""What a bake writes: the exact files, nothing unrendered, configurations that load without a warning."""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from conftest import ROOT, TEMPLATE, Bake, BakedProject

RENDERED = {
    ".github/CODEOWNERS",
    "README.md",
    "pyproject.toml",
    "LICENSE",
    "CITATION.cff",
    "task_definition.yaml",
    "configs/training_config.yaml",
    "configs/benchmark_config.yaml",
    "configs/smoke_config.yaml",
    ".github/pull_request_template.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/README.md",
    "docs/data.md",
    "docs/github_setup.md",
    "docs/runners.md",
}
VERBATIM = {
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHECKLIST.md",
    "Makefile",
    "configs/accelerate/ddp.yaml",
    "configs/accelerate/fsdp.yaml",
    "constraints.txt",
    "data/raw/.gitkeep",
    "docs/errors.md",
    "docs/models.md",
    "docs/reference.md",
    "docs/runtime.md",
    "iterations/README.md",
    "tests/test_task.py",
}
GITHUB = {
    ".github/ISSUE_TEMPLATE/1_wrong_answer.yml",
    ".github/ISSUE_TEMPLATE/2_data.yml",
    ".github/ISSUE_TEMPLATE/3_pipeline.yml",
    ".github/ISSUE_TEMPLATE/config.yml",
    ".github/actionlint.yaml",
    ".github/actions/setup/action.yml",
    ".github/actions/setup/base.txt",
    ".github/actions/setup/lock.py",
    ".github/actions/setup/setup.py",
    ".github/actions/setup/tokens.txt",
    ".github/dependabot.yml",
    ".github/workflows/ci.yml",
    ".github/workflows/data.yml",
    ".github/workflows/release.yml",
    ".github/workflows/train.yml",
    ".github/zizmor.yml",
}
STEPS = {
    "01_validate_data.py",
    "02_convert_format.py",
    "03_train.py",
    "04_evaluate.py",
    "05_merge_adapter.py",
    "06_convert_gguf.py",
    "07_verify_export.py",
    "08_upload_hf.py",
    "checklist.py",
    "_start.py",
    "chat.py",
    "fetch_base.py",
    "fetch_tokenizer.py",
    "github.py",
    "import_data.py",
    "predict.py",
    "setup_github.py",
    "summary.py",
    "try_model.py",
    "use_model.py",
}
CODE = ("finetune",)
"""Folders whose files are the template's own, one for one; every other file is named above."""

TYPES = ("classification", "extraction", "generation")
LANGUAGES = ("en", "zh-TW")
PRESETS = ("24GB-4B-LoRA", "24GB-8B-QLoRA", "48GB-8B-LoRA", "80GB-14B-LoRA", "CPU-135M-LoRA")
MATRIX = list(itertools.product(TYPES, LANGUAGES, PRESETS))
OWN_LABELS = {
    "classification": "yes: they agree; no: they don't; on/off (B): neither, 50% of cases",
    "extraction": "city: a town; 日期: 年月日",
    "generation": "-",
}


def files_of(folder: Path) -> set[str]:
    """Every file below `folder` as a posix path relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(("task_type", "language", "preset"), MATRIX)
def test_configurations_load_without_a_warning(bake: Bake, task_type: str, language: str, preset: str) -> None:
    project = bake(task_type=task_type, language=language, preset=preset)
    loaded, smoke = project.load(), project.load(smoke=True)
    assert loaded.warnings == () and smoke.warnings == ()
    assert (loaded.task.task_type, loaded.task.language, loaded.task.resources.preset) == (task_type, language, preset)
    assert loaded.training.base_model.pinned and smoke.training.base_model.pinned
    low, high = loaded.training.checks.learning_rate
    assert low <= loaded.training.optimiser.learning_rate <= high
    low, high = loaded.training.checks.epochs
    assert low <= loaded.training.optimiser.epochs <= high
    assert "SmolLM2" in smoke.training.base_model.id and smoke.training.device == "cpu"


def test_matrix_is_that_of_the_questions(questions: dict[str, Any]) -> None:
    assert list(TYPES) == questions["task_type"] and list(LANGUAGES) == questions["language"]
    assert list(PRESETS) == questions["preset"] == list(questions["_presets"])
    assert set(questions["_licenses"]) == set(questions["license"])


def test_tables_of_the_questions_are_those_of_the_package(questions: dict[str, Any]) -> None:
    from finetune.config.task_defaults import METRICS

    assert {name: tuple(metrics) for name, metrics in questions["_metrics"].items()} == METRICS
    listed = " | ".join(", ".join(metrics) for metrics in METRICS.values())
    assert f"({listed})" in questions["__prompts__"]["primary_metric"]


def test_presets_of_the_questions_are_those_of_the_package(questions: dict[str, Any]) -> None:
    from finetune.config.presets import MEMORY_GB

    assert {name: preset["memory_gb"] for name, preset in questions["_presets"].items()} == MEMORY_GB
    assert next(iter(MEMORY_GB)) == questions["preset"][0]


@pytest.mark.parametrize(("task_type", "language", "preset"), MATRIX)
def test_editors_find_the_schema_and_nothing_wrong(bake: Bake, task_type: str, language: str, preset: str) -> None:
    """Each file names its schema as yaml-language-server reads it, relative to itself, and keeps to it."""
    from finetune.config.strict_yaml import read_yaml
    from finetune.errors import Problems

    project = bake(task_type=task_type, language=language, preset=preset, sample_data=preset != "48GB-8B-LoRA")
    for name in ("task_definition.yaml", "configs/training_config.yaml", "configs/benchmark_config.yaml"):
        modeline = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", project.text(name).splitlines()[0])
        assert modeline, name
        schema = json.loads(((project.path / name).parent / modeline[1]).read_text(encoding="utf-8"))
        assert schema["title"] == name
        read = read_yaml(project.path / name, name, Problems())  # YAML 1.2, as editors do: 2e-5 is a number
        assert read
        wrong = list(Draft7Validator(schema).iter_errors(read.values))
        assert not wrong, [error.message for error in wrong]


@pytest.mark.parametrize(("task_type", "language"), list(itertools.product(TYPES, LANGUAGES)))
def test_a_definition_without_sample_says_what_one_of_a_few_lines_means(
    bake: Bake, task_type: str, language: str
) -> None:
    """One home for the texts: what the template spells out is what the package derives."""
    from finetune.config.task import TaskDefinition

    project = bake(task_type=task_type, language=language, sample_data=False, license="proprietary")
    written = yaml.safe_load(project.text("task_definition.yaml"))
    few = {name: written[name] for name in ("task_name", "task_type", "description", "language")}
    kind = {"classification": "labels", "extraction": "entity_types"}.get(task_type)
    few |= {"output": {kind: written["output"][kind]}} if kind else {}
    few |= {"hub": {"namespace": written["hub"]["namespace"]}}
    assert TaskDefinition.model_validate(few) == project.load().task


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_generation_task_of_ones_own_has_no_style_that_nobody_asked_for(bake: Bake, language: str) -> None:
    description = {"en": "Sum up a meeting.", "zh-TW": "整理會議紀錄。"}[language]
    project = bake(task_type="generation", language=language, sample_data=False, description=description)
    form = {"en": " Write the answer and nothing else.", "zh-TW": "只寫回答本身，不要有其他文字。"}[language]
    assert project.load().task.system_prompt == description + form
    text = project.text("task_definition.yaml").lower()
    for invented in ("kind", "two or three", "reply", "house", "thank", "親切", "兩三句", "敬上", "謝謝", "回覆"):
        assert invented not in text, invented


@pytest.mark.parametrize(("task_type", "language"), list(itertools.product(TYPES, LANGUAGES)))
def test_comments_of_the_definition_are_in_the_language_of_the_task(bake: Bake, task_type: str, language: str) -> None:
    lines = bake(task_type=task_type, language=language).text("task_definition.yaml").splitlines()[1:]
    comments = [found[1] for line in lines if (found := re.search(r"(?:^|\s)# (.*)", line))]
    words = [comment for comment in comments if re.search("[a-z]{3}|[\u4e00-\u9fff]", comment)]
    chinese = [comment for comment in words if re.search("[\u4e00-\u9fff]", comment)]
    assert len(words) > 20 and chinese == (words if language == "zh-TW" else [])


def test_no_version_stands_in_a_file_that_people_edit(bake: Bake, questions: dict[str, Any]) -> None:
    """A number of the template conflicts at every update; a format has a default version."""
    project = bake()
    for name in sorted(RENDERED):
        assert questions["_template_version"] not in project.text(name).replace('version = "0.1.0"', ""), name
    for name in ("task_definition.yaml", "configs/training_config.yaml", "configs/smoke_config.yaml"):
        assert "version" not in yaml.safe_load(project.text(name)), name


@pytest.mark.parametrize(("task_type", "language"), list(itertools.product(TYPES, LANGUAGES)))
@pytest.mark.parametrize("sample_data", [True, False])
def test_exact_files(bake: Bake, template: Path, task_type: str, language: str, sample_data: bool) -> None:
    project = bake(task_type=task_type, language=language, sample_data=sample_data)
    code = {f"{folder}/{name}" for folder in CODE for name in files_of(template / TEMPLATE.name / folder)}
    scripts = {f"scripts/{name}" for name in STEPS}
    sample = {"data/raw/sample.jsonl"} if sample_data else set()
    assert project.files == RENDERED | VERBATIM | GITHUB | code | scripts | sample


@pytest.mark.parametrize(("task_type", "language"), list(itertools.product(TYPES, LANGUAGES)))
def test_sample_data_is_the_chosen_one_and_fits_the_definition(bake: Bake, task_type: str, language: str) -> None:
    project = bake(task_type=task_type, language=language)
    source = TEMPLATE / "data" / "samples" / f"{task_type}.{language}.jsonl"
    text = project.text("data/raw/sample.jsonl")
    assert text == source.read_text(encoding="utf-8")
    rows, task = [json.loads(line) for line in text.splitlines()], project.load().task
    assert len(rows) == task.data.expected_rows
    if task_type == "classification":
        assert {row["label"] for row in rows} == set(task.label_names)
    if task_type == "extraction":
        assert {entity["type"] for row in rows for entity in row["entities"]} == set(task.entity_type_names)


def test_rendered_files_are_exactly_those_that_no_glob_copies(questions: dict[str, Any], template: Path) -> None:
    globs, files = questions["_copy_without_render"], files_of(template / TEMPLATE.name)
    copied = {name for name in files if any(fnmatch.fnmatch(name, glob) for glob in globs)}
    assert files - copied == RENDERED


def test_no_glob_matches_a_folder(questions: dict[str, Any], template: Path) -> None:
    root = template / TEMPLATE.name
    folders = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()}
    assert not [(f, g) for f in folders for g in questions["_copy_without_render"] if fnmatch.fnmatch(f, g)]


def test_copied_files_are_byte_for_byte_the_templates(bake: Bake, template: Path) -> None:
    project = bake()
    for name in project.files - RENDERED - {"data/raw/sample.jsonl"}:
        assert (project.path / name).read_bytes() == (template / TEMPLATE.name / name).read_bytes(), name


@pytest.mark.parametrize(("task_type", "language"), list(itertools.product(TYPES, LANGUAGES)))
def test_no_delimiter_is_left(bake: Bake, task_type: str, language: str) -> None:
    project = bake(task_type=task_type, language=language)
    for name in RENDERED:
        left = re.findall(r"<<|>>|<%|%>|<#|#>|cookiecutter\.", project.text(name))
        assert not left, name


def test_every_github_expression_survives(bake: Bake, template: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    shutil.copytree(template, planted)
    workflow = "run: echo ${{ secrets.X }} {{ y }} {% raw %} <<EOF ${#arr[@]}\n"
    target = planted / TEMPLATE.name / ".github" / "workflows" / "planted.yml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(workflow, encoding="utf-8")
    readme = planted / TEMPLATE.name / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8") + "\n${{ github.ref }} {{ x }}\n", encoding="utf-8")
    from cookiecutter.main import cookiecutter

    made = cookiecutter(str(planted), no_input=True, default_config=True, output_dir=str(tmp_path / "out"))
    project = BakedProject(Path(made))
    assert project.text(".github/workflows/planted.yml") == workflow
    assert project.text("README.md").endswith("\n${{ github.ref }} {{ x }}\n")


@pytest.mark.parametrize("task_type", TYPES)
def test_own_labels_reach_definition_and_readme(bake: Bake, task_type: str) -> None:
    project = bake(
        task_type=task_type,
        labels=OWN_LABELS[task_type],
        sample_data=False,
        description="It's a \"quoted\" task: #1, 50% \\ 'done' | ok – 好",
        hub_namespace="An.org_1",
    )
    task = project.load().task
    assert task.description == "It's a \"quoted\" task: #1, 50% \\ 'done' | ok – 好"
    named = [(item.name, item.description) for item in (*task.output.labels, *task.output.entity_types)]
    pairs = [part.split(": ", 1) for part in OWN_LABELS[task_type].split("; ")] if task_type != "generation" else []
    assert named == [tuple(pair) for pair in pairs]
    for name, _ in named:
        assert f"`{name}`" in project.text("README.md")
    assert yaml.safe_load(project.text("CITATION.cff"))["abstract"] == task.description
    assert tomllib.loads(project.text("pyproject.toml"))["project"]["description"]


def test_code_owners_reach_their_file(bake: Bake) -> None:
    lines = bake(code_owners="@an-org/models @me").text(".github/CODEOWNERS").splitlines()
    rules = [line.split() for line in lines if not line.startswith("#")]
    assert {tuple(owners) for _, *owners in rules} == {("@an-org/models", "@me")}
    decisive = {"/.github/", "/configs/", "/constraints.txt", "/finetune/", "/task_definition.yaml"}
    assert decisive <= {path for path, *_ in rules}


@pytest.mark.parametrize("answer", ["apache-2.0", "mit", "cc-by-4.0", "proprietary"])
def test_licence_is_the_same_everywhere(bake: Bake, questions: dict[str, Any], answer: str) -> None:
    project = bake(license=answer)
    spdx = questions["_licenses"][answer]
    first = {"apache-2.0": "Apache License", "mit": "MIT License", "cc-by-4.0": "Creative Commons Attribution 4.0"}
    assert first.get(answer, "All rights reserved") in project.text("LICENSE")
    assert tomllib.loads(project.text("pyproject.toml"))["project"]["license"] == spdx
    assert project.load().task.license.casefold() == spdx.casefold()
    private = answer == "proprietary"
    assert project.load().task.hub.private == private
    assert ("private repositories: " in project.text("README.md")) == private
    if private:  # nobody is asked to cite what nobody may use
        assert "CITATION.cff" not in project.files and "cite" not in project.text("README.md")
    else:
        assert yaml.safe_load(project.text("CITATION.cff"))["license"] == spdx


def test_second_bake_keeps_the_users_data(bake: Bake, template: Path, tmp_path: Path) -> None:
    from cookiecutter.main import cookiecutter

    project = bake(output=tmp_path / "twice")
    (project.path / "data" / "raw" / "sample.jsonl").unlink()
    mine = project.path / "data" / "raw" / "mine.jsonl"
    mine.write_text('{"input": "x", "label": "billing"}\n', encoding="utf-8")
    note = project.path / "finetune" / "mine.py"
    note.write_text("x = 1\n", encoding="utf-8")
    head = project.git("rev-parse", "HEAD")
    cookiecutter(
        str(template),
        no_input=True,
        default_config=True,
        output_dir=str(tmp_path / "twice"),
        overwrite_if_exists=True,
        skip_if_file_exists=True,
    )
    assert [path.name for path in project.path.glob("data/raw/*.jsonl")] == ["mine.jsonl"]
    assert note.exists() and mine.read_text(encoding="utf-8") == '{"input": "x", "label": "billing"}\n'
    assert not (project.path / "data" / "samples").exists()
    assert project.git("rev-parse", "HEAD") == head


def test_caches_of_the_template_folder_are_not_baked(template: Path, tmp_path: Path) -> None:
    from cookiecutter.main import cookiecutter

    dirty = tmp_path / "dirty"
    shutil.copytree(template, dirty)
    junk = ("finetune/__pycache__/x.cpython-311.pyc", ".pytest_cache/README.md", ".ruff_cache/0/1", ".hypothesis/u/v")
    for name in junk:
        path = dirty / TEMPLATE.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x8e<< broken >>")
    made = cookiecutter(str(dirty), no_input=True, default_config=True, output_dir=str(tmp_path / "out"))
    assert not [name for name in BakedProject(Path(made)).files if "cache" in name or "hypothesis" in name]


def test_git_starts_with_one_clean_commit(bake: Bake) -> None:
    project = bake()
    assert project.git("log", "--format=%s").startswith("Start ticket-router from llm-ft-template")
    assert project.git("status", "--porcelain") == ""
    assert set(project.git("ls-files").split("\n")) - {""} == project.files


def test_accelerate_configurations_are_accepted(bake: Bake) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    folder = bake().path / "configs" / "accelerate"
    kinds = {file.stem: load_config_from_file(str(file)).distributed_type for file in folder.iterdir()}
    assert {name: str(kind).rsplit(".", 1)[-1] for name, kind in kinds.items()} == {"ddp": "MULTI_GPU", "fsdp": "FSDP"}


def test_pins_of_template_and_repository_are_the_same() -> None:
    assert (ROOT / "constraints.txt").read_bytes() == (TEMPLATE / "constraints.txt").read_bytes()


def test_every_requirement_of_both_projects_is_pinned_and_the_lists_agree(bake: Bake) -> None:
    pinned = {
        re.split("==", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line[:1] not in ("#", "")
    }
    own = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    baked = tomllib.loads(bake().text("pyproject.toml"))["project"]
    extras = baked["optional-dependencies"]
    pipeline = [one for name in ("train", "export", "hub", "import", "demo", "tokens") for one in extras[name]]
    assert sorted(own["optional-dependencies"]["pipeline"]) == sorted(pipeline)
    assert set(baked["dependencies"]) <= set(own["dependencies"])
    assert {*extras["dev"], *extras["test"]} <= set(own["optional-dependencies"]["dev"])
    everything = [*own["dependencies"], *strings(own["optional-dependencies"])]
    names = {re.split(r"[>=<; ]", requirement)[0].lower().replace("_", "-") for requirement in everything}
    assert names - pinned == set()
