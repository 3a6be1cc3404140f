"""Configuration schemas: ranges, rules between keys and between files, and what is accepted."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from finetune.config.base import is_hub_id
from finetune.config.benchmark import QUANTISATIONS
from finetune.config.project import Project
from finetune.config.task import METRICS
from finetune.errors import BadInput

TASK, TRAINING, BENCHMARK = "task_definition.yaml", "configs/training_config.yaml", "configs/benchmark_config.yaml"
Make = Callable[..., Project]


def refused(make: Make, task_type: str = "classification", **sections: Any) -> list[tuple[str, str, str | None]]:
    """(file, code, key) of every error; each must have a line and a way out."""
    with pytest.raises(BadInput) as failure:
        make(task_type, **sections)
    errors = failure.value.problems.errors
    assert all(problem.line and problem.fix for problem in errors), [str(problem) for problem in errors]
    return [(problem.path, problem.code, problem.key) for problem in errors]


@pytest.mark.parametrize("task_type", list(METRICS))
def test_each_task_type_loads_frozen(make_project: Make, task_type: str) -> None:
    project = make_project(task_type)
    assert project.task.task_type == task_type
    with pytest.raises(ValidationError, match="frozen"):
        project.task.metrics.threshold = 0.1


@pytest.mark.parametrize(
    ("section", "values", "key"),
    [
        ("optimiser", {"learning_rate": 0}, "optimiser.learning_rate"),
        ("optimiser", {"learning_rate": -0.1}, "optimiser.learning_rate"),
        ("optimiser", {"learning_rate": 1.5}, "optimiser.learning_rate"),
        ("optimiser", {"epochs": 0}, "optimiser.epochs"),
        ("optimiser", {"warmup_ratio": 1.1}, "optimiser.warmup_ratio"),
        ("optimiser", {"weight_decay": -1}, "optimiser.weight_decay"),
        ("optimiser", {"max_grad_norm": 0}, "optimiser.max_grad_norm"),
        ("lora", {"r": 0}, "lora.r"),
        ("lora", {"alpha": -1}, "lora.alpha"),
        ("lora", {"dropout": 1.5}, "lora.dropout"),
        ("lora", {"dropout": -0.1}, "lora.dropout"),
        ("batch", {"per_device": 0}, "batch.per_device"),
        ("batch", {"per_device": 3, "effective": 8}, "batch"),
        ("checks", {"epochs": [10, 1]}, "checks"),
    ],
)
def test_c26_values_outside_their_range(make_project: Make, section: str, values: dict[str, Any], key: str) -> None:
    assert refused(make_project, training={section: values}) == [(TRAINING, "E224", key)]


@pytest.mark.parametrize("values", [{"learning_rate": [0.1]}, {"learning_rate": [0.1, 0.2, 0.3]}])
def test_a_range_has_two_ends(make_project: Make, values: dict[str, Any]) -> None:
    found = refused(make_project, training={"checks": values})
    assert [code for _, code, _ in found] == ["E204"]


@pytest.mark.parametrize("seed", [-1, 2**32, None, True, 1.0, "7"])
def test_c29_a_seed_that_a_generator_would_refuse(make_project: Make, seed: object) -> None:
    assert refused(make_project, training={"seed": seed}, benchmark={"bootstrap": {"seed": seed}}) == [
        (TRAINING, "E227", "seed"),
        (BENCHMARK, "E227", "bootstrap.seed"),
    ]


def test_c29_the_largest_seed_is_accepted_and_a_missing_one_is_fixed(make_project: Make, tmp_path: Path) -> None:
    assert make_project(training={"seed": 2**32 - 1}).training.seed == 2**32 - 1
    assert make_project(root=tmp_path / "other").training.seed == make_project(root=tmp_path / "third").training.seed


@pytest.mark.parametrize("threshold", [0, 0.0, -0.5, 1.01, 80])
def test_c30_a_threshold_that_passes_everything_or_nothing(make_project: Make, threshold: float) -> None:
    found = refused(
        make_project, task={"metrics": {"threshold": threshold}}, benchmark={"thresholds": {"accuracy": threshold}}
    )
    assert found == [(TASK, "E228", "metrics.threshold"), (BENCHMARK, "E228", "thresholds.accuracy")]


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


def test_floors_beside_the_primary_metric_must_be_metrics(make_project: Make) -> None:
    assert refused(make_project, benchmark={"thresholds": {"json_valid": 0.9}}) == [
        (BENCHMARK, "E228", "thresholds.json_valid")
    ]
    assert make_project(benchmark={"thresholds": {"finished_rate": 1, "accuracy": 0.5}}).benchmark.thresholds == {
        "finished_rate": 1.0, "accuracy": 0.5,
    }  # fmt: skip


def test_a_low_threshold_is_a_warning_except_for_generation(make_project: Make, tmp_path: Path) -> None:
    low = make_project(task={"metrics": {"threshold": 0.5}})
    assert len(low.warnings) == 1 and "W228" in low.warnings[0] and low.warnings[0].startswith(TASK + ":")
    low = make_project("generation", task={"metrics": {"threshold": 0.3}}, root=tmp_path / "generation")
    assert low.warnings == ()


@pytest.mark.parametrize(
    ("name", "near"), [("q8_0", "Q8_0"), ("q4_k_m", "Q4_K_M"), ("F16", "f16"), ("Q9_9", None), ("", None)]
)
def test_c31_an_unknown_quantisation_is_refused_at_once(make_project: Make, name: str, near: str | None) -> None:
    tolerances = {"merged": 1.0, name: 1.0, "f16": 1.0}
    with pytest.raises(BadInput) as failure:
        make_project(benchmark={"quantisations": ["f16", name], "tolerances": tolerances})
    errors = failure.value.problems.errors
    assert ("E229", "quantisations") in [(p.code, p.key) for p in errors] and {p.code for p in errors} == {"E229"}
    assert errors[0].fix == (f"did you mean {near}?" if near else f"one of {', '.join(QUANTISATIONS)}")


def test_c31_the_quantisations_are_a_list_without_repetition(make_project: Make) -> None:
    for names in ([], ["f16", "f16"]):
        assert refused(make_project, benchmark={"quantisations": names}) == [(BENCHMARK, "E229", "quantisations")]


def test_every_artefact_needs_a_tolerance(make_project: Make) -> None:
    assert refused(make_project, benchmark={"quantisations": ["f16", "Q8_0", "Q4_K_M"]}) == [
        (BENCHMARK, "E228", "tolerances")
    ]


def test_a_tolerance_for_no_artefact_is_a_typo(make_project: Make) -> None:
    assert refused(make_project, benchmark={"tolerances": {"Q4KM": 0.1}}) == [(BENCHMARK, "E229", "tolerances.Q4KM")]


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_tolerance_lies_between_0_and_1(make_project: Make, value: float) -> None:
    assert refused(make_project, benchmark={"tolerances": {"f16": value}}) == [(BENCHMARK, "E224", "tolerances.f16")]


@pytest.mark.parametrize(
    "splits",
    [
        {"train": 0.7, "valid": 0.2, "test": 0.2}, {"train": 1.0, "valid": 0.0, "test": 0.0},
        {"train": 0.5, "valid": 0.5, "test": 0},
    ],
)  # fmt: skip
def test_splits_are_positive_and_whole(make_project: Make, splits: dict[str, float]) -> None:
    assert refused(make_project, benchmark={"splits": splits}) == [(BENCHMARK, "E224", "splits")]


HUB_IDS = {
    "acme/model": True, "a/b": True, "Ac_me/m.o-d_el.1": True, "1/2": True, "acme/" + "x" * 91: True,
    "model": False, "acme/": False, "/model": False, "a/b/c": False, "acme/mo del": False, "acme/x..y": False,
    "acme/x--y": False, "acme/.x": False, "acme/x-": False, "acme/x.": False, "-a/x": False, "a-/x": False,
    "acme/x.git": False, "acme/" + "x" * 92: False, "../x": False, "acme/模型": False, "acme/x\n": False,
    "https://huggingface.co/acme/x": False, "": False,
}  # fmt: skip


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


@pytest.mark.parametrize(
    "place",
    [
        "gpt2", "../x", "/etc/passwd", "~/model", "C:\\model", "https://example.org/m", "models/base/",
        "models/base/../x", "models/base/.hidden", "models/base/a\nb", "models/other/x", "acme/x..y", "a/b/c", "",
    ],
)  # fmt: skip
def test_c24_the_base_model_is_a_hub_id_or_a_folder_below_models_base(make_project: Make, place: str) -> None:
    assert refused(make_project, training={"base_model": {"id": place}}) == [(TRAINING, "E223", "base_model.id")]


@pytest.mark.parametrize("revision", ["", "a b", "../main", "--upload-pack=x", "main\n", "x" * 101])
def test_c24_a_revision_is_one_word(make_project: Make, revision: str) -> None:
    assert refused(make_project, training={"base_model": {"revision": revision}}) == [
        (TRAINING, "E223", "base_model.revision")
    ]


def test_c24_an_unpinned_revision_is_a_warning(make_project: Make, tmp_path: Path) -> None:
    hub = {"id": "acme/model", "revision": "main"}
    project = make_project(training={"base_model": hub})
    assert not project.training.base_model.pinned
    assert [warning.split(": ")[2][:4] for warning in project.warnings] == ["W223"]
    pinned = make_project(
        training={"base_model": {**hub, "revision": "0123456789abcdef" * 2 + "01234567"}}, root=tmp_path / "pinned"
    )
    assert pinned.training.base_model.pinned and pinned.warnings == ()


@pytest.mark.parametrize("modules", ["all_linear", "q_proj", [], None, 5, ["q_proj", 5]])
def test_target_modules_are_all_linear_or_names(make_project: Make, modules: object) -> None:
    assert refused(make_project, training={"lora": {"target_modules": modules}}) == [
        (TRAINING, "E225", "lora.target_modules")
    ]


def test_the_head_and_the_embeddings_are_never_adapted(make_project: Make) -> None:
    assert refused(make_project, training={"lora": {"target_modules": ["q_proj", "lm_head"]}}) == [
        (TRAINING, "E225", "lora.target_modules")
    ]
    project = make_project(training={"lora": {"target_modules": ["q_proj", "v_proj"]}})
    assert project.training.lora.target_modules == ("q_proj", "v_proj")


def test_c28_lengths_of_the_three_files_fit_together(make_project: Make) -> None:
    found = refused(make_project, training={"max_length": 1024}, benchmark={"generation": {"context": 512}})
    assert found == [(BENCHMARK, "E226", "generation.context")]
    found = refused(make_project, task={"output": {"max_new_tokens": 512}}, training={"max_length": 512})
    assert found == [(TRAINING, "E226", "max_length")]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([], [("E217", "output.labels")]),
        ([{"name": "one", "description": "d"}], [("E217", "output.labels")]),
        (
            [{"name": n, "description": "d"} for n in ("a", "A", "b", "a")],
            [("E217", "output.labels.1.name"), ("E217", "output.labels.3.name")],
        ),
        ([{"name": "a:b", "description": "d"}, {"name": "b", "description": "d"}], [("E216", "output.labels.0")]),
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


def test_messages_speak_the_users_language(make_project: Make) -> None:
    with pytest.raises(BadInput) as failure:
        make_project(
            task={"output": {"labels": ["a"]}, "hub": [1]},
            training={"max_length": 1.5, "device": "gpu", "lora": {"r": "x"}},
            benchmark={"baselines": "majority", "splits": None},
        )  # fmt: skip
    text = str(failure.value)
    for wanted in ("a whole number", "a list", "key: value pairs", "an empty value"):
        assert wanted in text
    for ours in ("tuple", "dict", "instance", "Named", "None", "Input should"):
        assert ours not in text


SOURCES = sorted((Path(__file__).parents[1] / "finetune" / "config").glob("*.py"))


@pytest.mark.parametrize("name", ["task.py", "training.py", "benchmark.py"])
def test_every_section_is_documented(name: str) -> None:
    tree = ast.parse(next(p for p in SOURCES if p.name == name).read_text(encoding="utf-8"))
    sections = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert sections and all(ast.get_docstring(section) for section in sections)
