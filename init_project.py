"""A task_definition.yaml in, a task repository out: python init_project.py task_definition.yaml -o DIR [--sample-data].

To begin with one: python init_project.py --example classification [--language zh-TW] > task_definition.yaml
The definition is checked with the generated package's own schema, turned into answers, and baked with cookiecutter;
the result lies in DIR/<task_name>, with the given definition in it word for word.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

ROOT = Path(__file__).resolve().parent
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
sys.path.insert(0, str(TEMPLATE))

from finetune.config.loading import build, read_yaml  # noqa: E402
from finetune.config.presets import MEMORY_GB  # noqa: E402
from finetune.config.project import load_project  # noqa: E402
from finetune.config.task import TaskDefinition, TaskType  # noqa: E402
from finetune.config.task_defaults import WIDE  # noqa: E402
from finetune.errors import BAD_INPUT, IO_FAULT, BadInput, FinetuneError, Problems  # noqa: E402

Answers = dict[str, Any]

Language = Literal["en", "zh-TW"]
"""Of the template's own texts: the answers to its question."""


def example(task_type: str, language: str = "en", preset: str | None = None) -> str:
    """A complete task definition with comments, as the questions make it: sample values, to be edited and baked."""
    from cookiecutter.main import cookiecutter

    if preset is not None and preset not in MEMORY_GB:
        raise FinetuneError(f"{preset!r} is no preset", f"one of {', '.join(MEMORY_GB)}", "E219")
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
        "labels": "; ".join(f"{item.name}: {_plain(item.description)}" for item in named) or "-",
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
        "__secondary_metrics": ", ".join(task.metric_names[1:]),
    }


def _plain(description: str) -> str:
    """A description without the two signs that separate labels in an answer; only the README shows this form."""
    return description.replace(";", ",").replace(": ", " - ").rstrip(":")


def check_answers(answers: Answers, defaults: Answers, shown: str) -> None:
    """The rules of the questions, which are stricter than the schema; raises BadInput with all that are broken."""
    problems = Problems()
    if answers["preset"] not in defaults["_presets"]:
        known = ", ".join(defaults["_presets"])
        message = f"{answers['preset']!r} is no preset"
        problems.add(shown, "E219", message, f"one of {known}, or --preset", key="resources.preset")
    asked = {**defaults, **answers, "__asked_name": answers["task_name"]}
    for problem in _hook("pre_gen_project").find_problems(asked):
        problems.add(shown, "E219", problem)
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
    from cookiecutter.main import cookiecutter

    task, text = read_definition(definition, preset)
    defaults = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    answers = answers_for(task, defaults, sample_data, preset, code_owners)
    check_answers(answers, defaults, definition.as_posix())
    target = output / task.task_name
    if os.path.lexists(target):
        raise FinetuneError(f"{target} exists already", "choose another folder with -o, or remove it")
    with _folder(output), tempfile.TemporaryDirectory(prefix=f".{task.task_name}-", dir=output) as staging:
        kept = Path(staging) / "definition.yaml"
        kept.write_bytes(text.encode("utf-8"))
        baked = cookiecutter(
            str(ROOT), no_input=True, default_config=True, output_dir=staging,
            extra_context={**answers, "_definition": str(kept.resolve())},
        )  # fmt: skip
        load_project(Path(baked))
        Path(baked).rename(target)
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
    try:
        if show:
            sys.stdout.buffer.write(example(show, language, preset).encode("utf-8"))
            return
        if definition is None:
            fix = "name one; init_project.py --example classification prints one to start from"
            raise FinetuneError("no task definition", fix, "E249")
        target = init(definition, output, sample_data, preset, code_owners)
    except BadInput as error:
        typer.echo(error.problems.render(), err=True)
        raise typer.Exit(BAD_INPUT) from None
    except FinetuneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        typer.echo(f"E974 {error.strerror}: {error.filename}", err=True)
        raise typer.Exit(IO_FAULT) from None
    typer.echo(str(target))


if __name__ == "__main__":
    typer.run(main)
