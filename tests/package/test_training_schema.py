"""training_config.yaml: ranges, the base model and its revision, and the layers that are adapted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config_files import TRAINING, Make, refused


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


@pytest.mark.parametrize(
    "place",
    [
        "gpt2",
        "../x",
        "/etc/passwd",
        "~/model",
        "C:\\model",
        "https://example.org/m",
        "models/base/",
        "models/base/../x",
        "models/base/.hidden",
        "models/base/a\nb",
        "models/other/x",
        "acme/x..y",
        "a/b/c",
        "",
    ],
)
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
