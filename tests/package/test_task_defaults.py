"""A task definition of a few lines: what follows from it, and that writing it out changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from config_files import TASK, Make, problems_of
from finetune.config.project import load_project
from finetune.config.task import TaskDefinition
from finetune.config.task_defaults import METRICS, RULES, complete, derive
from finetune.data.stage import data_inputs, validate
from finetune.errors import BadInput
from finetune.github.release.edits import mark_released
from finetune.github.train.fingerprint import training_fingerprint

LABELS = [{"name": name, "description": f"about {name} matters"} for name in ("billing", "shipping", "account")]
TYPES = [{"name": "product", "description": "a product"}, {"name": "quantity", "description": "how many"}]
OUTPUT = {"classification": {"output": {"labels": LABELS}}, "extraction": {"output": {"entity_types": TYPES}}}


def minimal(task_type: str, language: str = "en") -> dict[str, Any]:
    return {
        "task_name": "small-task",
        "task_type": task_type,
        "description": "Say what the message is about",
        "language": language,
        **OUTPUT.get(task_type, {}),
        "hub": {"namespace": "acme"},
    }


def write(root: Path, values: dict[str, Any]) -> None:
    (root / TASK).write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")


ROOM = {"generation": {"batch_size": 8, "context": 1024}}
"""For a row of max_length and the longest answer that a task type has by default."""


@pytest.fixture
def loaded(make_project: Make) -> Any:
    """`loaded(values)` loads a repository whose task definition holds just these."""

    def load(values: dict[str, Any]) -> Any:
        root = make_project(values.get("task_type", "classification"), benchmark=ROOM).paths.root
        write(root, values)
        return load_project(root)

    return load


@pytest.mark.parametrize("task_type", list(METRICS))
@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_a_few_lines_are_a_task_and_its_data_is_checked(loaded: Any, task_type: str, language: str) -> None:
    project = loaded(minimal(task_type, language))
    task = project.task
    assert project.warnings == () and list(project.derived) == list(RULES)
    assert task.metric_names == METRICS[task_type] and task.metrics.threshold == (
        0.3 if task_type == "generation" else 0.8
    )
    assert task.output.field == {"classification": "label", "extraction": "entities", "generation": "output"}[task_type]
    assert (task.hub.adapter, task.hub.gguf, task.hub.merged) == (
        "acme/small-task-lora",
        "acme/small-task-gguf",
        "acme/small-task",
    )
    assert (task.resources.preset, task.resources.gpu_memory_gb) == ("24GB-4B-LoRA", 24)
    assert any("\u4e00" <= sign <= "\u9fff" for sign in task.system_prompt) == (language == "zh-TW")
    assert validate(project) == 0


def test_a_licence_that_nobody_named_grants_nothing_and_keeps_the_model_private(loaded: Any) -> None:
    project = loaded(minimal("generation"))
    assert (project.task.license, project.task.hub.private) == ("LicenseRef-Proprietary", True)
    project = loaded({**minimal("generation"), "license": "mit"})
    assert (project.task.license, project.task.hub.private) == ("mit", False)


@pytest.mark.parametrize("task_type", list(METRICS))
def test_a_default_written_out_is_the_same_task(loaded: Any, task_type: str) -> None:
    short = loaded(minimal(task_type))
    digests = data_inputs(short), training_fingerprint(short)
    long = loaded(short.task.model_dump(mode="json"))
    assert long.derived == {} and long.task == short.task
    assert (data_inputs(long), training_fingerprint(long)) == digests


def test_what_is_given_is_never_replaced() -> None:
    values = minimal("classification")
    values.update(
        {"system_prompt": "Mine: {labels}", "output": {"labels": LABELS, "example": "shipping", "field": "l"}}
    )
    before = yaml.safe_dump(values)
    made = complete(values)
    assert made["system_prompt"] == "Mine: {labels}" and made["output"]["field"] == "l"
    assert made["output"]["example"] == "shipping" and made["output"]["max_new_tokens"] == 16
    assert yaml.safe_dump(values) == before, "the file's own values are left alone"


def test_each_rule_follows_what_it_reads() -> None:
    values = minimal("classification") | {"metrics": {"primary": "accuracy"}, "resources": {"preset": "CPU-135M-LoRA"}}
    values["output"] = {"labels": [{"name": "x" * 40, "description": "d"}, *LABELS]}
    found = derive(values)
    assert found["metrics.secondary"] == ["macro_f1"] and found["resources.gpu_memory_gb"] == 0
    assert found["output.max_new_tokens"] == 41, "a byte is at most a token, and the end is one"
    assert found["output.example"] == "x" * 40
    assert derive(minimal("generation") | {"description": "Sum it up."})["system_prompt"] == (
        "Sum it up. Write the answer and nothing else."
    )


def test_an_unknown_preset_asks_for_the_memory(make_project: Make) -> None:
    root = make_project().paths.root
    write(root, minimal("classification") | {"resources": {"preset": "my own machine"}})
    (problem,) = problems_of(root)
    assert (problem.code, problem.key) == ("E215", "resources.gpu_memory_gb") and "gpu_memory_gb: 24" in problem.fix


def test_one_wrong_value_is_one_problem_though_defaults_follow_from_it(make_project: Make) -> None:
    root = make_project().paths.root
    for change, codes in (
        ({"task_type": "clasification"}, ["E228"]),
        ({"task_name": "Small Task"}, ["E204"]),
        ({"hub": {"namespace": "a/b"}}, ["E230"]),
        ({"hub": {}}, ["E215"]),
        ({"language": 5}, ["E204"]),
        ({"description": None}, ["E204"]),
    ):
        write(root, minimal("classification") | change)
        assert [problem.code for problem in problems_of(root)] == codes, change


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"output": {}}, "list every label: labels: [{name: billing, description: charges and refunds}, "
                         "{name: shipping, description: parcels}, …]"),
        ({"output": {"labels": ["billing", "shipping"]}},
         "write key: value pairs, such as {name: billing, description: charges and refunds}"),
        ({"hub": None}, "write key: value pairs, such as hub: {namespace: your-namespace}"),
        ({"metrics": 0.9}, "write key: value pairs, such as metrics: {primary: macro_f1, threshold: 0.8}"),
    ],
)  # fmt: skip
def test_a_message_shows_what_to_write(make_project: Make, change: dict[str, Any], fix: str) -> None:
    root = make_project().paths.root
    write(root, minimal("classification") | change)
    problem = problems_of(root)[0]
    assert problem.fix == fix and "\n" not in str(problem)


def test_a_missing_section_is_shown_from_its_outermost_key(make_project: Make) -> None:
    root = make_project().paths.root
    values = minimal("classification")
    del values["hub"]
    write(root, values)
    (problem,) = problems_of(root)
    assert (problem.key, problem.fix) == ("hub.namespace", "add it, such as hub: {namespace: your-namespace}")


def test_every_shape_that_is_shown_is_accepted() -> None:
    """What a message tells to write is YAML of the right form: the fixes of an empty file, followed, make a task."""
    from finetune.config.loading import build
    from finetune.config.strict_yaml import Located
    from finetune.errors import Problems

    problems = Problems()
    build(TaskDefinition, Located("t", {}), problems)
    shown = "\n".join(problem.fix.partition("such as ")[2] for problem in problems.errors)
    values = yaml.safe_load(shown) | {"output": {"labels": LABELS}}
    assert {"task_name", "task_type", "description", "language", "hub"} <= values.keys()
    assert TaskDefinition.model_validate(values).hub.namespace == "your-namespace"


def test_step_1_says_what_follows_in_one_line(loaded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    validate(loaded(minimal("classification")))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "docs/reference.md" in line]
    assert "metrics.primary=macro_f1, metrics.threshold=0.8" in line and "hub.private=true" in line
    assert "keys to the defaults" in line and "{labels}" not in line
    validate(loaded(loaded(minimal("classification")).task.model_dump(mode="json")))
    assert "docs/reference.md" not in capsys.readouterr().err


def test_a_release_writes_its_status_into_a_definition_of_a_few_lines() -> None:
    for ending in ("", "\n"):
        text = yaml.safe_dump(minimal("classification"), sort_keys=False).rstrip("\n") + ending
        marked = mark_released(text, "1.2.0")
        assert marked.startswith(text) and yaml.safe_load(marked)["released_version"] == "1.2.0"
        assert yaml.safe_load(marked)["status"] == "released" and mark_released(marked, "1.2.0") == marked


@pytest.mark.parametrize("task_type", list(METRICS))
def test_what_only_a_person_knows_stays_open_in_the_checklist(loaded: Any, task_type: str) -> None:
    from finetune.evidence.facts import Facts
    from finetune.evidence.registry import EVIDENCE

    facts = Facts(loaded(minimal(task_type)).paths.root)
    found = EVIDENCE["input_format"](facts)
    assert found.status == "open" and "input.description, input.example" in found.text
    assert EVIDENCE["output_format"](facts).status == ("done" if task_type == "classification" else "open")


def test_a_repository_that_cannot_load_is_no_crash(make_project: Make) -> None:
    root = make_project().paths.root
    for text in (
        "output: []\n",
        "hub: 5\ninput: [1]\n",
        "task_type: [a]\nmetrics: {primary: 3}\noutput: {labels: 7}\n",
    ):
        (root / TASK).write_text(text, encoding="utf-8")
        with pytest.raises(BadInput):
            load_project(root)
