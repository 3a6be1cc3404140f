"""init_project.py: the tree of a bake from its task definition, every problem at once, nothing half-written."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import init_project
from conftest import ROOT, Bake
from finetune.config.project import load_project
from finetune.errors import BadInput, FinetuneError
from finetune.evidence.readme import replace_task


def run(template: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(template / "init_project.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and mode of every file below `folder`, git's own left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: (path.read_bytes(), path.stat().st_mode) for name, path in named.items() if not name.startswith(".git/")
    }


def definition(bake: Bake, tmp_path: Path, change: dict[str, Any] | None = None, **answers: Any) -> Path:
    """The task definition of a bake, with some keys replaced (dots lead inwards)."""
    values = yaml.safe_load(bake(output=tmp_path / "source", **answers).text("task_definition.yaml"))
    for key, value in (change or {}).items():
        *outer, last = key.split(".")
        section = values
        for name in outer:
            section = section[name]
        section[last] = value
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return file


CASES = [
    *({"task_type": t, "language": lang} for t, lang in itertools.product(
        ("classification", "extraction", "generation"), ("en", "zh-TW"))),
    {"preset": "CPU-135M-LoRA", "license": "mit", "hub_namespace": "An.org", "code_owners": "@an-org/models @me"},
    {"preset": "24GB-8B-QLoRA", "license": "proprietary", "sample_data": False, "threshold": "0.925"},
    {"labels": "yes: they agree; no/off (B): don't, 50%", "sample_data": False, "primary_metric": "accuracy"},
    {"task_type": "generation", "sample_data": False, "description": "It's \"quoted\" # and \\ more"},
]  # fmt: skip


@pytest.mark.parametrize("answers", CASES, ids=[" ".join(map(str, case.values())) for case in CASES])
def test_tree_is_that_of_the_bake_byte_for_byte(
    bake: Bake, template: Path, tmp_path: Path, answers: dict[str, Any]
) -> None:
    baked = bake(output=tmp_path / "one", **answers)
    sample = ["--sample-data"] if answers.get("sample_data", True) else []
    owners = ["--code-owners", answers["code_owners"]] if "code_owners" in answers else []
    done = run(template, baked.path / "task_definition.yaml", "-o", tmp_path / "two", *sample, *owners)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "two" / "ticket-router") == contents(baked.path)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["ticket-router"]


def test_definition_is_kept_word_for_word_and_committed(bake: Bake, tmp_path: Path) -> None:
    file = definition(bake, tmp_path, {"data.max_imbalance": 4.0, "language": "ja", "license": "GPL-3.0-only"})
    file.write_text("# my own note\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    target = init_project.init(file, tmp_path / "out")
    assert (target / "task_definition.yaml").read_bytes() == file.read_bytes()
    status = subprocess.run(["git", "status", "--porcelain"], cwd=target, capture_output=True, text=True, check=True)
    assert status.stdout == ""
    assert "language `ja`" in (target / "README.md").read_text(encoding="utf-8")
    assert "GPL-3.0-only" in (target / "LICENSE").read_text(encoding="utf-8")


def test_repository_names_and_texts_of_the_definition_reach_the_readme(bake: Bake, tmp_path: Path) -> None:
    labels = [{"name": "one", "description": "first: a; b"}, {"name": "two", "description": "second"}]
    change = {"hub.gguf": "other/name-gguf", "output.labels": labels, "metrics.secondary": []}
    target = init_project.init(definition(bake, tmp_path, change), tmp_path / "out")
    readme = (target / "README.md").read_text(encoding="utf-8")
    assert "other/name-gguf" in readme and "| Labels | `one`, `two` |" in readme and "| Also reported | - |" in readme
    assert replace_task(readme, load_project(target)) == readme


def test_preset_of_the_command_line_wins(bake: Bake, tmp_path: Path) -> None:
    file = definition(bake, tmp_path, {"resources.preset": "my own machine"})
    target = init_project.init(file, tmp_path / "out", preset="CPU-135M-LoRA")
    assert "SmolLM2" in (target / "configs" / "training_config.yaml").read_text(encoding="utf-8")


FEW_LINES = {
    "classification": "  labels:\n    - {name: good, description: it helps}\n    - {name: bad, description: useless}\n",
    "extraction": "  entity_types: [{name: city, description: a town}]\n",
    "generation": "",
}


def few_lines(tmp_path: Path, task_type: str, language: str = "en", output: str = "", more: str = "") -> Path:
    file, output = tmp_path / "few.yaml", FEW_LINES[task_type] + output
    head = f"task_name: own-task\ntask_type: {task_type}\ndescription: What it is about\nlanguage: {language}\n"
    kind = f"output:\n{output}" if output else ""
    file.write_text(f"{head}{kind}hub: {{namespace: acme}}\n{more}", encoding="utf-8")
    return file


ROWS = {
    "classification": lambda n: {"input": f"case {n} is told here", "label": ("good", "bad")[n % 2]},
    "extraction": lambda n: {"input": f"case {n} is in Rome", "entities": [{"type": "city", "text": "Rome"}]},
    "generation": lambda n: {"input": f"case {n} is told here", "output": f"answer {n}"},
}


@pytest.mark.parametrize("task_type", list(FEW_LINES))
@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_a_definition_of_a_few_lines_becomes_a_repository_whose_data_is_checked(
    template: Path, tmp_path: Path, task_type: str, language: str
) -> None:
    file = few_lines(tmp_path, task_type, language)
    done = run(template, file, "-o", tmp_path / "out", "--preset", "CPU-135M-LoRA")
    assert done.returncode == 0, done.stderr
    target = tmp_path / "out" / "own-task"
    assert (target / "task_definition.yaml").read_text(encoding="utf-8").startswith(file.read_text(encoding="utf-8"))
    rows = [json.dumps(ROWS[task_type](number)) + "\n" for number in range(60)]
    (target / "data" / "raw" / "rows.jsonl").write_text("".join(rows), encoding="utf-8")
    for script in ("01_validate_data.py", "02_convert_format.py"):
        done = subprocess.run(
            [sys.executable, f"scripts/{script}"], cwd=target, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "hub.merged=acme/own-task, hub.private=true" in run_01(target)
    first = json.loads((target / "data" / "test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert [message["role"] for message in first["messages"]] == ["system", "user"]


def run_01(target: Path) -> str:
    command = [sys.executable, "scripts/01_validate_data.py"]
    return subprocess.run(command, cwd=target, capture_output=True, text=True, check=True).stderr


def test_a_chosen_preset_is_written_where_the_definition_names_none(tmp_path: Path) -> None:
    target = init_project.init(few_lines(tmp_path, "generation"), tmp_path / "out", preset="CPU-135M-LoRA")
    assert yaml.safe_load((target / "task_definition.yaml").read_text(encoding="utf-8"))["resources"] == {
        "preset": "CPU-135M-LoRA"
    }
    task = init_project.load_project(target).task
    assert (task.resources.preset, task.resources.gpu_memory_gb) == ("CPU-135M-LoRA", 0)
    plain = init_project.init(few_lines(tmp_path, "generation"), tmp_path / "plain")
    assert (plain / "task_definition.yaml").read_bytes() == (tmp_path / "few.yaml").read_bytes()
    with pytest.raises(BadInput, match="E228"):
        init_project.init(few_lines(tmp_path, "generation"), tmp_path / "none", preset="9GB")


@pytest.mark.parametrize("task_type", list(FEW_LINES))
@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_the_printed_example_is_the_template_s_own_and_bakes_as_printed(
    bake: Bake, template: Path, tmp_path: Path, task_type: str, language: str
) -> None:
    command = [sys.executable, str(template / "init_project.py"), "--example", task_type, "--language", language]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    text = done.stdout.decode("utf-8")
    assert done.stderr == b""
    baked = bake(output=tmp_path / "baked", task_type=task_type, language=language)
    assert text == baked.text("task_definition.yaml")
    (tmp_path / "mine.yaml").write_bytes(done.stdout)
    assert run(template, tmp_path / "mine.yaml", "-o", tmp_path / "out").returncode == 0
    kept = (tmp_path / "out" / "ticket-router" / "task_definition.yaml").read_bytes()
    assert kept == done.stdout and init_project.load_project(tmp_path / "out" / "ticket-router").derived == {}


def test_an_example_of_nothing_and_no_definition_are_said(template: Path) -> None:
    for arguments, words in (
        (["--example", "clasification"], ["classification", "extraction", "generation"]),
        (["--example", "generation", "--preset", "9GB"], ["E228", "CPU-135M-LoRA"]),
        ([], ["E249", "--example"]),
    ):
        done = run(template, *arguments)
        assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
        assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("task_type", list(FEW_LINES))
def test_the_readme_shows_the_names_that_the_data_has(tmp_path: Path, task_type: str) -> None:
    more = "input: {field: text}\ndata: {id_field: number, group_field: customer}\n"
    file = few_lines(tmp_path, task_type, output="  field: answer\n", more=more)
    target = init_project.init(file, tmp_path / "out")
    readme = (target / "README.md").read_text(encoding="utf-8")
    row = json.loads(readme.partition("## Data")[2].partition("```json\n")[2].partition("\n```")[0])
    assert list(row) == ["number", "customer", "text", "answer"]
    assert "Rows with the same `customer` stay in one split" in readme


def test_every_problem_at_once_with_exit_2(bake: Bake, template: Path, tmp_path: Path) -> None:
    file = definition(bake, tmp_path, {"task_name": "My Task", "metrics.threshold": 2, "input.max_char": 5})
    done = run(template, file, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert all(key in done.stderr for key in ("task_name", "metrics.threshold", "input.max_char", "did you mean"))
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"task_name": "class"}, "reserved"),
        ({"task_name": "a--b"}, "task_name"),
        ({"description": "see << cookiecutter >>"}, "description"),
        ({"description": "routes \u200b"}, "invisible"),
        ({"resources.preset": "my own machine"}, "resources.preset"),
        ({"output.labels": [{"name": name, "description": "a language"} for name in ("c", "c\u200b")]}, "E216"),
    ],
)
def test_rules_of_the_questions_hold_too(bake: Bake, tmp_path: Path, change: dict[str, Any], word: str) -> None:
    with pytest.raises(BadInput, match=word):
        init_project.init(definition(bake, tmp_path, change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_code_owners_of_the_command_line_are_checked(bake: Bake, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="code_owners"):
        init_project.init(definition(bake, tmp_path), tmp_path / "out", code_owners="me")
    assert not (tmp_path / "out").exists()


def test_sample_data_must_fit_the_labels(bake: Bake, tmp_path: Path) -> None:
    labels = [{"name": "one", "description": "first"}, {"name": "two", "description": "second"}]
    with pytest.raises(BadInput, match="sample_data"):
        init_project.init(definition(bake, tmp_path, {"output.labels": labels}), tmp_path / "out", sample_data=True)


def test_problem_that_only_the_configurations_show_leaves_nothing(bake: Bake, tmp_path: Path) -> None:
    file = definition(bake, tmp_path, {"output.max_new_tokens": 8000})
    with pytest.raises(BadInput, match="max_length"):
        init_project.init(file, tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_existing_target_is_refused_and_untouched(bake: Bake, tmp_path: Path) -> None:
    file = definition(bake, tmp_path)
    (tmp_path / "out" / "ticket-router").mkdir(parents=True)
    with pytest.raises(FinetuneError, match=r"E256 .*exists already"):
        init_project.init(file, tmp_path / "out")
    assert list((tmp_path / "out").rglob("*")) == [tmp_path / "out" / "ticket-router"]


def test_value_that_yaml_readers_disagree_on_is_a_problem_not_a_crash(
    bake: Bake, template: Path, tmp_path: Path
) -> None:
    file = definition(bake, tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace("name: billing", "name: no"), encoding="utf-8")
    done = run(template, file, "-o", tmp_path / "out")
    assert done.returncode == 2 and "E201" in done.stderr and "Traceback" not in done.stderr


def test_missing_file_is_named(template: Path, tmp_path: Path) -> None:
    done = run(template, tmp_path / "nothing.yaml", "-o", tmp_path / "out")
    assert done.returncode == 2 and "E221" in done.stderr and "Traceback" not in done.stderr


def bare(template: Path, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    """With a Python that has no packages, as a machine has that was never used for this."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(template / "init_project.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=template,
        env={"PATH": path},
    )


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("uv", "uv run init_project.py 'my task.yaml' -o ..\n"),
        ("pipx", "pipx run init_project.py 'my task.yaml' -o ..\n"),
        ("", "build/venv/bin/python init_project.py 'my task.yaml' -o ..\n"),
    ],
)
def test_without_its_packages_it_says_the_one_line_that_installs_them(
    template: Path, tmp_path: Path, tool: str, line: str
) -> None:
    if tool:
        (tmp_path / tool).touch(mode=0o755)
    done = bare(template, "my task.yaml", "-o", "..", path=str(tmp_path))
    assert done.returncode == 2 and done.stderr.startswith("E250 init_project.py needs ")
    assert done.stderr.endswith(line) and done.stderr.count("\n") == 1 and not done.stdout


def test_packages_it_names_are_those_it_imports_and_the_project_has(template: Path) -> None:
    text = (template / "init_project.py").read_text(encoding="utf-8")
    block = "".join(line[2:] + "\n" for line in text.split("# /// script\n")[1].split("# ///")[0].splitlines())
    listed = tomllib.loads(block)["dependencies"]
    own = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert set(listed) <= set(own)
    names = {re.split("[>=]", one)[0] for one in listed}
    assert " ".join(sorted(names, key=str.casefold)) == " ".join(
        sorted(init_project.PACKAGES.split(), key=str.casefold)
    )
    loaded = "import sys, init_project; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=template, capture_output=True, text=True, check=True)
    heavy = {"msgspec", "rensa", "torch", "numpy", "tokenizers"}
    assert not set(done.stdout.split()) & heavy


def test_a_home_that_cannot_be_written_is_no_obstacle_and_nothing_is_left_there(
    bake: Bake, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    source = definition(bake, tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    done = run(template, source, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr


def test_steps_name_the_folder_and_not_where_it_was_made(bake: Bake, template: Path, tmp_path: Path) -> None:
    done = run(template, definition(bake, tmp_path), "-o", tmp_path / "a b")
    assert done.returncode == 0 and f"cd '{tmp_path}/a b/ticket-router'" in done.stdout
    assert "first commit done" in done.stdout and "/.ticket-router-" not in done.stdout


def test_a_failure_of_cookiecutter_itself_is_one_line(bake: Bake, template: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(template, broken)
    hook = broken / "hooks" / "post_gen_project.py"
    text = hook.read_text(encoding="utf-8").replace("    answers = json.loads(ANSWERS)\n", "    return 1\n")
    hook.write_text(text, encoding="utf-8")
    done = run(broken, definition(bake, tmp_path), "-o", tmp_path / "out")
    assert done.returncode == 74 and "E255 cookiecutter stopped" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
