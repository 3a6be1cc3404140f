# /// script
# requires-python = ">=3.11"
# dependencies = ["cookiecutter>=2.6", "pydantic>=2.9", "PyYAML>=6.0", "rich>=13.9", "typer>=0.15"]
# ///
"""A task_definition.yaml in, a task repository out: python init_project.py task_definition.yaml -o DIR [--sample-data].

To begin with one: python init_project.py --example classification [--language zh-TW] > task_definition.yaml
The definition is checked with the generated package's own schema, turned into answers, and baked with cookiecutter;
the result lies in DIR/<task_name>, with the given definition in it word for word.

`uv run init_project.py …` and `pipx run init_project.py …` install the packages above by themselves.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

ROOT = Path(__file__).resolve().parent
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
sys.path.insert(0, str(TEMPLATE))


PACKAGES = "cookiecutter pydantic PyYAML rich typer"


def how_to_install(missing: str) -> str:
    """The one line that helps where this Python lacks a package; what the machine has decides, nothing is changed."""
    script = f"{shlex.quote(os.path.relpath(__file__))} {shlex.join(sys.argv[1:])}".rstrip()
    runner = next((f"{tool} run" for tool in ("uv", "pipx") if shutil.which(tool)), "")
    if not runner:  # a folder of its own: Debian and others let nobody install into the Python of the system
        venv = shlex.quote(os.path.relpath(ROOT / "build" / "venv"))
        python = f"{venv}/bin/python"
        runner = f"python3 -m venv {venv} && {python} -m pip install -q {PACKAGES} && {python}"
    return f"E250 init_project.py needs {missing}. Fix: {runner} {script}"


try:
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts it has not installed it
        raise ModuleNotFoundError(name=f"Python 3.11 or newer, this is {sys.version.split()[0]}")
    import cookiecutter.exceptions
    import cookiecutter.main
    import typer

    from finetune.config.loading import build
    from finetune.config.presets import MEMORY_GB
    from finetune.config.project import load_project
    from finetune.config.strict_yaml import read_yaml
    from finetune.config.task import TaskDefinition, TaskType
    from finetune.config.task_defaults import WIDE
    from finetune.errors import BAD_INPUT, IO_FAULT, BadInput, FinetuneError, Problems
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    sys.stderr and print(how_to_install(f"{error.name}"), file=sys.stderr)
    sys.exit(2)

Answers = dict[str, Any]

Language = Literal["en", "zh-TW"]
"""Of the template's own texts: the answers to its question."""


def example(task_type: str, language: str = "en", preset: str | None = None) -> str:
    """A complete task definition with comments, as the questions make it: sample values, to be edited and baked."""
    from cookiecutter.main import cookiecutter

    if preset is not None and preset not in MEMORY_GB:
        raise FinetuneError(f"{preset!r} is no preset", f"one of {', '.join(MEMORY_GB)}", "E228")
    answers = {"task_type": task_type, "language": language, **({"preset": preset} if preset else {})}
    with tempfile.TemporaryDirectory() as folder:
        baked = cookiecutter(
            str(ROOT), no_input=True, default_config=True, output_dir=folder, extra_context=answers, accept_hooks=False
        )
        return (Path(baked) / "task_definition.yaml").read_text(encoding="utf-8")


def read_definition(file: Path, preset: str | None = None) -> tuple[TaskDefinition, str]:
    """The definition in `file` and the text to keep; raises BadInput with all of its problems.

    The text is the file's own. One that names no preset gets the chosen one, so that task and configurations agree.
    """
    problems = Problems()
    located = read_yaml(file, file.as_posix(), problems)
    if located and preset in MEMORY_GB and "resources" not in located.values:
        located.values["resources"] = {"preset": preset}
        chosen = f"resources:\n  preset: {json.dumps(preset)}\n"
    else:
        chosen = ""
    task = build(TaskDefinition, located, problems) if located else None
    problems.raise_if_errors()
    assert task is not None
    text = file.read_bytes().decode("utf-8")
    return task, text + ("" if text.endswith("\n") or not chosen else "\n") + chosen


def answers_for(
    task: TaskDefinition,
    defaults: Answers,
    sample_data: bool,
    preset: str | None = None,
    code_owners: str | None = None,
) -> Answers:
    """What a person would have answered to get this definition; `defaults` is cookiecutter.json.

    The definition says nothing about people: `code_owners` is an option of its own.
    """
    named = task.output.labels if task.task_type == "classification" else task.output.entity_types
    spdx = {identifier.casefold(): answer for answer, identifier in defaults["_licenses"].items()}
    known = spdx.get(task.license.casefold())
    wide = task.language.split("-")[0] in WIDE  # lengths are then chosen as for Traditional Chinese
    return {
        "task_name": task.task_name,
        "task_type": task.task_type,
        "language": "zh-TW" if wide else "en",
        "description": " ".join(task.description.split()),
        "labels": "; ".join(f"{item.name}: {item.description}" for item in named) or "-",
        "primary_metric": task.metrics.primary,
        "threshold": f"{task.metrics.threshold:.6f}".rstrip("0").ljust(4, "0"),
        "preset": preset or task.resources.preset,
        "hub_namespace": task.hub.namespace,
        "code_owners": defaults["code_owners"] if code_owners is None else code_owners,
        "license": known or "proprietary",
        "sample_data": sample_data,
        "__language": task.language,
        "__input_field": task.input.field,
        "__output_field": task.output.field,
        "__id_field": task.data.id_field,
        "__group_field": task.data.group_field,
        "__spdx": defaults["_licenses"][known] if known else task.license,
        "__adapter_repo": task.hub.adapter,
        "__gguf_repo": task.hub.gguf,
        "__merged_repo": task.hub.merged,
        "__private": str(task.hub.private).lower(),
        "__secondary_metrics": ", ".join(task.metric_names[1:]),
        "_named": {item.name: item.description for item in named},
    }


def check_answers(answers: Answers, defaults: Answers, shown: str) -> None:
    """The rules of the questions, which are stricter than the schema; raises BadInput with all that are broken."""
    problems = Problems()
    if answers["preset"] not in defaults["_presets"]:
        known = ", ".join(defaults["_presets"])
        message = f"{answers['preset']!r} is no preset"
        problems.add(shown, "E228", message, f"one of {known}, or --preset", key="resources.preset")
    asked = {**defaults, **answers, "__asked_name": answers["task_name"]}
    for problem in _hook("pre_gen_project").find_problems(asked):
        problems.add(shown, "E254", problem)
    problems.raise_if_errors()


def _hook(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "hooks" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def init(
    definition: Path,
    output: Path,
    sample_data: bool = False,
    preset: str | None = None,
    code_owners: str | None = None,
) -> Path:
    """Bake the repository and return its folder; nothing is left in `output` if anything goes wrong."""
    task, text = read_definition(definition, preset)
    defaults = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    answers = answers_for(task, defaults, sample_data, preset, code_owners)
    check_answers(answers, defaults, definition.as_posix())
    target = output / task.task_name
    if os.path.lexists(target):
        raise FinetuneError(f"{target} exists already", "choose another folder with -o, or remove it", "E256")
    pre, post = _hook("pre_gen_project"), _hook("post_gen_project")
    given = {name: pre.as_template(value) if isinstance(value, str) else value for name, value in answers.items()}
    with _folder(output), tempfile.TemporaryDirectory(prefix=f".{task.task_name}-", dir=output) as staging:
        kept = Path(staging) / "definition.yaml"
        kept.write_bytes(text.encode("utf-8"))
        baked = cookiecutter.main.cookiecutter(
            str(ROOT),
            no_input=True,
            default_config={"replay_dir": f"{staging}/replay"},
            output_dir=staging,
            extra_context={**given, "_definition": str(kept.resolve())},
        )
        load_project(Path(baked))
        done = post.start_git(Path(baked), {**defaults, **answers, "_output_dir": staging})
        Path(baked).rename(target)
    post.say(post.next_steps(answers, done, post.way_to(target.resolve())))
    return target


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """`path` exists inside the block; what had to be made for it is removed again if the block fails."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            folder.rmdir()
        raise


def main(
    definition: Annotated[Path | None, typer.Argument(help="the task definition")] = None,
    output: Annotated[Path, typer.Option("-o", "--output-dir", help="makes DIR/<task_name>")] = Path("."),
    sample_data: Annotated[bool, typer.Option("--sample-data", help="start with the template's sample data")] = False,
    preset: Annotated[str | None, typer.Option(help="hardware preset, instead of resources.preset")] = None,
    code_owners: Annotated[str | None, typer.Option(help="for .github/CODEOWNERS, such as @your-org/team")] = None,
    show: Annotated[TaskType | None, typer.Option("--example", help="print a definition to start from")] = None,
    language: Annotated[Language, typer.Option(help="of that example")] = "en",
) -> None:
    """Generate the repository of one task; exit 2 with every problem of the definition."""
    # Without a handler of its own it would print a traceback of what `_fail` says in a line.
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    try:
        if show:
            sys.stdout.buffer.write(example(show, language, preset).encode("utf-8"))
            return
        if definition is None:
            fix = "name one; init_project.py --example classification prints one to start from"
            raise FinetuneError("no task definition", fix, "E249")
        target = init(definition, output, sample_data, preset, code_owners)
    except BadInput as error:
        _fail(error.problems.render(), BAD_INPUT)
    except FinetuneError as error:
        _fail(str(error), error.exit_code)
    except cookiecutter.exceptions.CookiecutterException as error:
        _fail(f"E255 cookiecutter stopped: {error}", IO_FAULT)
    except OSError as error:
        _fail(f"E974 {error.strerror or error}: {error.filename}", IO_FAULT)
    _hook("post_gen_project").say(str(target))


def _fail(message: str, code: int) -> NoReturn:
    _hook("post_gen_project").say(message, "stderr")
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
