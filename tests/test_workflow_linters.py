"""Linters with nothing to say about the workflows of this repository and of what it generates."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT, TEMPLATE
from test_bake import LANGUAGES, PRESETS, TYPES

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def baked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated repository with every default answer."""
    from cookiecutter.main import cookiecutter

    return Path(
        cookiecutter(
            str(template), no_input=True, default_config=True, output_dir=str(tmp_path_factory.mktemp("baked"))
        )
    )


# zizmor only warns about a file that it cannot read, unless the collection is strict.
ZIZMOR = ["-q", "--offline", "--no-progress", "--strict-collection", "--config", ".github/zizmor.yml", ".github"]
LINTERS = {
    "actionlint": ["-shellcheck", str(BIN / "shellcheck"), "-config-file", ".github/actionlint.yaml", "{workflows}"],
    "zizmor": [*ZIZMOR, "--persona", "pedantic"],
    "zizmor auditor": [*ZIZMOR, "--persona", "auditor"],
    "check-jsonschema": ["--builtin-schema", "vendor.github-workflows", "{workflows}"],
}
SCHEMAS = {
    "dependabot": ["dependabot.yml"], "github-actions": ["actions/setup/action.yml"],
    "github-issue-forms": ["ISSUE_TEMPLATE/[0-9]*.yml"], "github-issue-config": ["ISSUE_TEMPLATE/config.yml"],
}  # fmt: skip


def lint(root: Path, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    files = [str(file.relative_to(root)) for file in sorted((root / ".github" / "workflows").iterdir())]
    command = [word for argument in arguments for word in (files if argument == "{workflows}" else [argument])]
    return subprocess.run([str(BIN / tool.split()[0]), *command], cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(params=["generated", "template"])
def linted(request: pytest.FixtureRequest, baked: Path) -> Path:
    return baked if request.param == "generated" else ROOT


@pytest.mark.parametrize("tool", LINTERS)
def test_linter_has_nothing_to_say(linted: Path, tool: str) -> None:
    done = lint(linted, tool, *LINTERS[tool])
    assert done.returncode == 0, done.stdout + done.stderr


def test_reviewed_exceptions_are_these_and_stand_in_one_file(linted: Path) -> None:
    """The reason of each is beside it; the second is reported to auditors only."""
    reviewed: dict[str, Any] = {"self-repository": {"disable": True}}
    if linted != ROOT:
        reviewed["self-hosted-runner"] = {"ignore": ["train.yml", "release.yml"]}
    assert yaml.safe_load((linted / ".github" / "zizmor.yml").read_text(encoding="utf-8")) == {"rules": reviewed}
    for file in (linted / ".github").rglob("*.yml"):
        text = file.read_text(encoding="utf-8")
        assert "zizmor: ignore" not in text and "shellcheck disable" not in text, file


@pytest.mark.parametrize("schema", SCHEMAS)
def test_other_files_follow_their_schema(linted: Path, schema: str) -> None:
    files = [str(file) for pattern in SCHEMAS[schema] for file in sorted((linted / ".github").glob(pattern))]
    assert files
    done = lint(linted, "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("tool", "old", "new"),
    [
        ("actionlint", 'run: test "$RESULT" = success', "run: test $RESULT = success"),
        ("actionlint", "needs.validate.result", "needs.valid.result"),
        ("actionlint", "vars.GPU_RUNNER_LABELS", "vars.GPU_RUNNER_LABEL"),
        ("zizmor", "  pull_request:\n", "  pull_request_target:\n"),
        ("zizmor", 'run: test "$RESULT" = success', 'run: test "${{ github.head_ref }}" = success'),
        ("zizmor", "          persist-credentials: false\n", "          lfs: false\n"),
        ("zizmor", "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1", "actions/checkout@v7"),
        ("zizmor", "permissions: {}\n\n", "\n"),
        ("zizmor", "jobs:\n", "job:\n"),
        ("zizmor auditor", "    environment: hf-release\n", ""),
        ("check-jsonschema", "    timeout-minutes: 5\n", "    timeout: 5\n"),
    ],
)
def test_linter_bites(baked: Path, tmp_path: Path, tool: str, old: str, new: str) -> None:
    """The same call on a broken copy: a linter that reads nothing would pass above."""
    shutil.copytree(baked / ".github", tmp_path / ".github")
    hit = 0
    for file in (tmp_path / ".github" / "workflows").iterdir():
        text = file.read_text(encoding="utf-8")
        hit += old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
    assert hit
    assert lint(tmp_path, tool, *LINTERS[tool]).returncode != 0


def is_linted(file: Path) -> bool:
    return "__pycache__" not in file.parts and file.suffix != ".md"


@pytest.mark.parametrize("task_type", TYPES)
def test_every_option_set_has_the_same_github_folder(template: Path, tmp_path: Path, task_type: str) -> None:
    """So one linted bake stands for all; CODEOWNERS holds nothing but the answer, and Markdown no linter reads."""
    from cookiecutter.main import cookiecutter

    source = TEMPLATE / ".github"
    found = (file.relative_to(source) for file in source.rglob("*") if file.is_file())
    expected = {file: (source / file).read_bytes() for file in found if is_linted(file)}
    rendered = expected[Path("CODEOWNERS")].replace(b"<< cookiecutter.code_owners >>", b"@your-org/maintainers")
    expected[Path("CODEOWNERS")] = rendered
    for language in LANGUAGES:
        for preset in PRESETS:
            folder = cookiecutter(
                str(template),
                no_input=True,
                default_config=True,
                output_dir=str(tmp_path / f"{language}-{preset}"),
                extra_context={"task_type": task_type, "language": language, "preset": preset},
                accept_hooks=False,
            )
            made = Path(folder) / ".github"
            files = (file for file in made.rglob("*") if file.is_file())
            assert {file.relative_to(made): file.read_bytes() for file in files if is_linted(file)} == expected
