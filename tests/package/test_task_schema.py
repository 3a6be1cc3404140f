"""task_definition.yaml: metrics, labels, prompt, fields, languages, balance and the ids of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config_files import TASK, Make, refused
from finetune.config.base import is_hub_id
from finetune.config.task_defaults import METRICS


@pytest.mark.parametrize(
    ("task_type", "metric"),
    [(kind, metric) for kind in METRICS for metric in sum(METRICS.values(), ()) if metric not in METRICS[kind]]
    + [("classification", "loss"), ("generation", "perplexity"), ("extraction", "")],
)
def test_c30_a_metric_must_fit_the_task_type(make_project: Make, task_type: str, metric: str) -> None:
    for role, value in (("primary", metric), ("secondary", [metric])):
        found = refused(make_project, task_type, task={"metrics": {role: value}})
        assert found == [(TASK, "E228", f"metrics.{role}")]


@pytest.mark.parametrize("task_type", list(METRICS))
def test_every_metric_of_a_task_type_is_accepted_once(make_project: Make, task_type: str) -> None:
    known = METRICS[task_type]
    metrics = {"primary": known[-1], "secondary": [*known, known[0]]}
    names = make_project(task_type, task={"metrics": metrics}).task.metric_names
    assert names[0] == known[-1] and sorted(names) == sorted(known)


def test_a_low_threshold_is_a_warning_except_for_generation(make_project: Make, tmp_path: Path) -> None:
    low = make_project(task={"metrics": {"threshold": 0.5}})
    assert len(low.warnings) == 1 and "W228" in low.warnings[0] and low.warnings[0].startswith(TASK + ":")
    low = make_project("generation", task={"metrics": {"threshold": 0.3}}, root=tmp_path / "generation")
    assert low.warnings == ()


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([], [("E217", "output.labels")]),
        ([{"name": "one", "description": "d"}], [("E217", "output.labels")]),
        (
            [{"name": n, "description": "d"} for n in ("a", "A", "b", "a")],
            [("E217", "output.labels.1.name"), ("E217", "output.labels.3.name")],
        ),
        ([{"name": "a\u200bb", "description": "d"}, {"name": " b", "description": "d"}],
         [("E216", "output.labels.0"), ("E216", "output.labels.1")]),
        ([{"name": "a", "description": "d "}, {"name": "b", "description": "x\ny"}],
         [("E216", "output.labels.0"), ("E216", "output.labels.1")]),
        ([{"name": "", "description": "d"}, {"name": "b"}],
         [("E204", "output.labels.0.name"), ("E215", "output.labels.1.description")]),
        (["a", "b"], [("E204", "output.labels.0"), ("E204", "output.labels.1")]),
        ("a", [("E204", "output.labels")]),
    ],
)  # fmt: skip
def test_labels_are_a_closed_set_of_named_answers(make_project: Make, labels: Any, found: list[Any]) -> None:
    assert [(code, key) for _, code, key in refused(make_project, task={"output": {"labels": labels}})] == found


def test_extraction_needs_entity_types(make_project: Make) -> None:
    assert refused(make_project, "extraction", task={"output": {"entity_types": []}}) == [
        (TASK, "E217", "output.entity_types")
    ]


@pytest.mark.parametrize("task_type", ["classification", "extraction"])
def test_the_prompt_names_the_closed_set(make_project: Make, task_type: str) -> None:
    found = refused(make_project, task_type, task={"system_prompt": "Answer.", "metrics": {"primary": "loss"}})
    assert found == [(TASK, "E228", "metrics.primary"), (TASK, "E218", "system_prompt")]


def test_two_roles_never_read_the_same_field(make_project: Make) -> None:
    found = refused(make_project, task={"input": {"field": "x"}, "output": {"field": "x"}, "data": {"id_field": "x"}})
    assert found == [(TASK, "E219", "output.field"), (TASK, "E219", "data.id_field")]


@pytest.mark.parametrize("language", ["en", "zh-TW", "de", "sr-Latn-RS"])
def test_any_bcp_47_language_is_accepted(make_project: Make, language: str) -> None:
    assert make_project(language=language).task.language == language


@pytest.mark.parametrize("language", ["English", "zh_TW", "", "e"])
def test_other_languages_are_refused(make_project: Make, language: str) -> None:
    assert refused(make_project, language=language) == [(TASK, "E204", "language")]


@pytest.mark.parametrize("task_type", ["extraction", "generation"])
@pytest.mark.parametrize("balance", ["oversample", "weights"])
def test_only_classes_are_balanced(make_project: Make, task_type: str, balance: str) -> None:
    found = refused(make_project, task_type, task={"data": {"balance": balance}})
    assert found == [(TASK, "E228", "data.balance")]


@pytest.mark.parametrize("balance", ["none", "oversample", "weights"])
def test_classification_knows_every_way_of_balancing(make_project: Make, balance: str) -> None:
    assert make_project(task={"data": {"balance": balance}}).task.data.balance == balance


@pytest.mark.parametrize("task_type", ["extraction", "generation"])
def test_balancing_nothing_is_always_accepted(make_project: Make, task_type: str) -> None:
    assert make_project(task_type, task={"data": {"balance": "none"}}).task.data.balance == "none"


HUB_IDS = {
    "acme/model": True,
    "a/b": True,
    "Ac_me/m.o-d_el.1": True,
    "1/2": True,
    "acme/" + "x" * 91: True,
    "model": False,
    "acme/": False,
    "/model": False,
    "a/b/c": False,
    "acme/mo del": False,
    "acme/x..y": False,
    "acme/x--y": False,
    "acme/.x": False,
    "acme/x-": False,
    "acme/x.": False,
    "-a/x": False,
    "a-/x": False,
    "acme/x.git": False,
    "acme/" + "x" * 92: False,
    "../x": False,
    "acme/模型": False,
    "acme/x\n": False,
    "https://huggingface.co/acme/x": False,
    "": False,
}


@pytest.mark.parametrize(("repo", "accepted"), HUB_IDS.items())
def test_c32_a_hub_id_is_what_the_hub_accepts(repo: str, accepted: bool) -> None:
    assert is_hub_id(repo) == accepted


@pytest.mark.parametrize("repo", [repo for repo, accepted in HUB_IDS.items() if "/" in repo])
def test_c32_our_rule_is_at_least_as_strict_as_huggingface_hub(repo: str) -> None:
    validators = pytest.importorskip("huggingface_hub.utils")
    try:
        validators.validate_repo_id(repo)
    except validators.HFValidationError:
        assert not is_hub_id(repo)


@pytest.mark.parametrize("repo", ["model", "acme/x..y", "acme/x--y", "../../x", "acme/" + "x" * 92])
def test_c32_an_invalid_repository_is_refused(make_project: Make, repo: str) -> None:
    for kind in ("adapter", "gguf", "merged"):
        assert refused(make_project, task={"hub": {kind: repo}}) == [(TASK, "E230", f"hub.{kind}")]


def test_c32_all_hub_problems_come_at_once_and_the_three_must_differ(make_project: Make) -> None:
    assert refused(make_project, task={"hub": {"namespace": "a/b", "adapter": "one", "gguf": "two"}}) == [
        (TASK, "E230", "hub.adapter"), (TASK, "E230", "hub.gguf"), (TASK, "E230", "hub.namespace"),
    ]  # fmt: skip
    assert refused(make_project, task={"hub": {"adapter": "acme/One", "gguf": "acme/one"}}) == [(TASK, "E230", "hub")]
