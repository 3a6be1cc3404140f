"""Every rule over both sets of workflows, and each is shown to bite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT, TEMPLATE
from support.workflow_rules import ACTIONS, OUTPUTS, RULES, SCOPES, Workflow

SETS = {"generated": TEMPLATE, "template": ROOT}
WORKFLOWS = {
    f"{name}/{file.name}": Workflow(f"{name}/{file.name}", file.read_text(encoding="utf-8"))
    for name, root in SETS.items()
    for file in sorted((root / ".github" / "workflows").iterdir())
}
SETUP = "      - name: Install the base packages\n        uses: ./.github/actions/setup\n"

FOREIGN = "        working-directory: build/work\n        run: .venv/bin/python scripts/fetch_base"
EARLY = "      - name: Early\n        working-directory: build/work\n        run: ../../.venv/bin/python scripts/0.py\n"
FETCH = "      - name: Fetch the base model"

BROKEN = [
    ("permissions", "generated/data.yml", "permissions: {}\n\n# No", "permissions: write-all\n\n# No"),
    ("permissions", "generated/data.yml", "contents: read # check the change out", "contents: write # check it out"),
    ("permissions", "generated/train.yml", " # the verdict, fine-tune/evaluation", ""),
    ("permissions", "template/ci.yml", "    permissions: {}\n", ""),
    ("timeouts", "generated/train.yml", "timeout-minutes: 720", "timeout-minutes: 1440"),
    ("timeouts", "generated/data.yml", "    timeout-minutes: 20\n", ""),
    ("timeouts", "template/ci.yml", "timeout-minutes: 60", "timeout-minutes: 360"),
    ("concurrency", "generated/train.yml", "      queue: max\n", ""),
    ("concurrency", "generated/release.yml", "  queue: max\n\ndefaults", "\ndefaults"),
    ("concurrency", "generated/train.yml", "      group: gpu\n", "      group: gpu-${{ inputs.pr }}\n"),
    ("concurrency", "generated/train.yml", "group: train-${{ inputs.pr || inputs.sha }}", "group: train"),
    ("concurrency", "generated/train.yml", "${{ inputs.pr != '' }}", "true"),
    ("concurrency", "generated/data.yml", "github.event.pull_request.number || github.ref", "github.workflow"),
    ("triggers", "generated/data.yml", "  pull_request:\n", "  pull_request_target:\n"),
    ("triggers", "generated/data.yml", "  merge_group:\n", "  workflow_run:\n    workflows: [ci]\n"),
    ("triggers", "template/ci.yml", "  workflow_call:\n", "  issue_comment:\n"),
    ("runners", "generated/data.yml", "runs-on: ubuntu-24.04", "runs-on: [self-hosted, gpu]"),
    ("runners", "generated/data.yml", "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest"),
    ("runners", "generated/train.yml", "  workflow_dispatch:\n", "  pull_request:\n  workflow_dispatch:\n"),
    ("pins", "generated/data.yml", "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "v7"),
    ("pins", "generated/data.yml", " # v7.0.1", " # v6.0.0"),
    ("pins", "generated/ci.yml", "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1", "a/b@" + "0" * 40),
    ("checkouts", "generated/train.yml", "          persist-credentials: false\n", ""),
    ("checkouts", "generated/train.yml", "          ref: ${{ inputs.sha }}\n", "          lfs: true\n"),
    ("commands", "generated/data.yml", 'run: test "$RESULT" = success', 'run: test "${{ github.sha }}" = success'),
    ("commands", "generated/data.yml", "run: .venv/bin/python scripts/02", "run: true && .venv/bin/python scripts/02"),
    ("commands", "generated/data.yml", "run: .venv/bin/python scripts/02", "run: pip install x\n        #"),
    ("commands", "generated/data.yml", 'run: test "$RESULT" = success', "run: echo x >> $GITHUB_ENV"),
    ("commands", "generated/release.yml", SETUP, ""),
    ("expression_contexts", "generated/data.yml", "github.event.pull_request.number }}", "github.head_ref }}"),
    ("expression_contexts", "generated/data.yml", "github.event.pull_request.number }}", "toJSON(github) }}"),
    ("expression_contexts", "generated/data.yml", "github.event.pull_request.number }}", "GitHub.Head_Ref }}"),
    ("expression_contexts", "generated/data.yml", "steps.request.outputs.run", "steps.request.outputs.title"),
    ("secrets", "generated/train.yml", "      contents: read # main's code; nothing", "      id-token: write # no"),
    ("secrets", "generated/train.yml", "          PR: ${{ inputs.pr }}", "          PR: ${{ secrets.HF_TOKEN }}"),
    ("secrets", "generated/train.yml", "secrets.HF_READ_TOKEN", "secrets.HF_TOKEN"),
    ("secrets", "generated/train.yml", "fetch_base.py --project build/work", "fetch_base.py --project ."),
    ("secrets", "generated/train.yml", "        run: .venv/bin/python scripts/fetch_base", FOREIGN),
    ("secrets", "generated/train.yml", FETCH, EARLY + FETCH),
    ("secrets", "generated/train.yml", "    environment: gpu-base\n", ""),
    ("secrets", "generated/release.yml", "    environment: hf-release\n", ""),
    ("secrets", "generated/release.yml", "    with:\n      sha:", "    secrets: inherit\n    with:\n      sha:"),
    ("secrets", "generated/train.yml", "env:\n  PYTHONPATH: .\n", "env:\n  T: ${{ github.token }}\n"),
    ("tokens", "generated/train.yml", "          DIGEST: ", "          T: ${{ github.token }}\n          DIGEST: "),
    ("forks", "generated/data.yml", "github.event.pull_request.head.repo.full_name == github.repository", "true"),
    ("forks", "generated/ci.yml", "runs-on: ubuntu-24.04", "runs-on: gpu"),
    ("caches", "generated/train.yml", "cache-mode: none\n", ""),
    ("caches", "template/ci.yml", "cache-mode: none\n", "cache-mode: write\n"),
    ("containers", "generated/ci.yml", "    timeout-minutes: 15\n", "    container: python\n    timeout-minutes: 15\n"),
    ("containers", "generated/ci.yml", "uses: ./.github/actions/setup", "uses: $/.github/actions/setup"),
    ("conditions", "generated/train.yml", "!cancelled() && needs.resolve", "always() && needs.resolve"),
    ("conditions", "generated/data.yml", "    if: always()\n", ""),
    ("conditions", "generated/data.yml", "RESULT: ${{ needs.validate.result }}", "RESULT: success"),
    ("conditions", "template/ci.yml", '"success success success"', '"success success skipped"'),
    ("conditions", "template/ci.yml", "needs: [lint, bake, pipeline]", "needs: [lint, bake, pipeline, other]"),
]
"""Rule, file, what stands there, and what must be noticed in its place."""


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(rule: Callable[[Workflow], Iterator[str]], name: str) -> None:
    assert list(rule(WORKFLOWS[name])) == []


@pytest.mark.parametrize(("rule", "name", "old", "new"), BROKEN, ids=[f"{r[0]} {n}" for n, r in enumerate(BROKEN)])
def test_rule_bites(rule: str, name: str, old: str, new: str) -> None:
    text = WORKFLOWS[name].text
    assert old in text, "the sample no longer fits the file"
    (check,) = [one for one in RULES if one.__name__ == rule]
    assert list(check(Workflow(name, text.replace(old, new)))) != []


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule.__name__ for rule in RULES} == {row[0] for row in BROKEN}


def test_every_workflow_has_its_line_in_the_table() -> None:
    assert {name: set(w.jobs) for name, w in WORKFLOWS.items()} == {name: set(jobs) for name, jobs in SCOPES.items()}


# What belongs to more than one file


@pytest.mark.parametrize("root", SETS.values(), ids=SETS)
def test_setup_is_the_only_action_and_installs_by_constraints(root: Path) -> None:
    assert [path.name for path in (root / ".github" / "actions").iterdir()] == ["setup"]
    text = (root / ".github" / "actions" / "setup" / "action.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(text)["runs"]["steps"]
    assert all("${{" not in step["run"] and "\n" not in step["run"].strip() for step in steps)
    assert not any("uses" in step for step in steps)
    script = (TEMPLATE / ".github" / "actions" / "setup" / "setup.py").read_text(encoding="utf-8")
    assert all('"-c", CONSTRAINTS' in line for line in script.splitlines() if '"install"' in line)
    assert '"--no-cache-dir"' in script


@pytest.mark.parametrize("root", SETS.values(), ids=SETS)
def test_every_constraint_is_one_exact_version(root: Path) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def test_package_outputs_only_what_is_listed() -> None:
    """actions.set_output takes integers, enums, hex and version tags; here are all the names it is given (T15)."""
    code = {file: file.read_text(encoding="utf-8") for file in (TEMPLATE / "finetune").rglob("*.py")}
    named = {name for text in code.values() for name in re.findall(r"set_output\(\s*([^,()]+),", text)}
    assert {name.strip("\"'") for name in named if name[0] in "\"'"} == set(OUTPUTS)
    assert {name for name in named if name[0] not in "\"'"} <= {"name: str", "name"}
    writers = {file.name for file, text in code.items() if re.search(r"GITHUB_(OUTPUT|ENV|PATH|STATE)\b", text)}
    assert writers == {"actions.py"}
    assert not re.search(r"GITHUB_(ENV|PATH|STATE)\b", code[TEMPLATE / "finetune" / "github" / "client" / "actions.py"])


def test_every_step_calls_a_command_with_all_that_it_needs() -> None:
    import typer

    from finetune.github.cli import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    used = set()
    for name in ("ci", "data", "train", "release"):
        workflow = WORKFLOWS[f"generated/{name}.yml"]
        for _, step in workflow.steps:
            if found := re.search(r"scripts/github\.py (\S+)(.*)", step.get("run", "")):
                used.add(found[1])
                command = commands[found[1]]
                given = {*step.get("env", {}), *re.findall(r"--[a-z-]+", found[2])}
                for option in command.params:
                    names = {*option.opts, *_list(option.envvar)}
                    assert names & given or not option.required, f"{found[1]} lacks {names}"
                known = {word for option in command.params for word in (*option.opts, *_list(option.envvar))}
                assert given - known <= {"GITHUB_TOKEN"}, f"{found[1]} does not know {given - known}"
    assert used == set(commands), "a command that no workflow calls"


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def test_required_check_is_the_gate_that_setup_asks_for() -> None:
    from finetune.github.setup.expectations import CHECK

    assert WORKFLOWS["generated/data.yml"].jobs["gate"]["name"] == CHECK


def test_adapter_is_kept_for_thirty_days_under_its_fingerprint() -> None:
    steps = [step for _, step in WORKFLOWS["generated/train.yml"].steps]
    (kept,) = [step["with"] for step in steps if step["name"] == "Keep the adapter"]
    assert kept["name"] == "adapter-${{ needs.resolve.outputs.fingerprint }}" and kept["retention-days"] == "30"


def test_bakes_run_on_the_floor_and_on_the_pinned_cookiecutter() -> None:
    import tomllib

    tested = WORKFLOWS["template/ci.yml"].jobs["bake"]["strategy"]["matrix"]["cookiecutter"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (floor,) = [line.partition(">=")[2] for line in project["dependencies"] if line.startswith("cookiecutter")]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (pin,) = [line.partition("==")[2] for line in pins if line.startswith("cookiecutter==")]
    assert tested == [f"{floor}.0", pin]


@pytest.mark.parametrize("root", SETS.values(), ids=SETS)
def test_dependabot_waits_before_it_raises_anything(root: Path) -> None:
    updates = yaml.safe_load((root / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"pip", "github-actions"}
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)


def test_both_sets_use_the_same_three_actions() -> None:
    used = {line for w in WORKFLOWS.values() for line in re.findall(r"uses: (actions/.+)", w.text)}
    assert used == {f"{name}@{pin}" for name, pin in ACTIONS.items()}


def test_only_a_tag_releases_and_only_main_trains() -> None:
    """train.yml has no filter to fail: scripts/github.py resolve refuses a dispatch from another branch (E610)."""
    assert WORKFLOWS["generated/release.yml"].data["on"] == {"push": {"tags": ["v*"]}}
    assert WORKFLOWS["template/release.yml"].data["on"] == {"push": {"tags": ["v*"]}}
    assert WORKFLOWS["generated/train.yml"].triggers == {"workflow_dispatch", "workflow_call"}
    assert WORKFLOWS["generated/data.yml"].data["on"]["push"] == {"branches": ["main"]}
