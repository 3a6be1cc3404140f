"""release.yml under the real act: real merge, GGUF files and scores, the real Hub client, fakes of both servers."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import yaml

from fakes.github_store import Release
from fakes.hub import HubServer
from workflows.act import Run
from workflows.fixtures import Start, Trained
from workflows.forge import Forge
from workflows.repository import NAME
from workflows.small import set_value

ADAPTER, GGUF, MERGED = "acme/ticket-router-lora", "acme/ticket-router-gguf", "acme/ticket-router"
REPOS = (ADAPTER, GGUF, MERGED)
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
JOBS = ("resolve", "train", "model", "github-release", "record")
TAG, TASK, TOKEN = "v1.0.0", "task_definition.yaml", "hf_test"


def results(run: Run) -> dict[str, str]:
    """Results of release.yml's own jobs."""
    return {job: run.jobs[job] for job in JOBS}


def expected(*values: str) -> dict[str, str]:
    return dict(zip(JOBS, values, strict=True))


COMPLETE = expected("success", "skipped", "success", "success", "success")


def state(forge: Forge, hub: HubServer) -> dict[str, Any]:
    """Everything a release leaves behind, on both servers."""
    github = forge.github
    return {
        "hub": {name: (set(repo.commits), dict(repo.tags)) for name, repo in hub.hub.repos.items()},
        "releases": {number: (r.draft, r.body, set(r.assets)) for number, r in github.releases.items()},
        "pulls": {number: (pull.head_sha, pull.state) for number, pull in github.pulls.items()},
        "refs": github.git("for-each-ref"),
    }


def assert_published(forge: Forge, hub: HubServer, trained: Trained) -> None:
    """Three tagged repositories of one commit each, a GitHub release with its files, a pull request with the record."""
    for name in REPOS:
        repo = hub.hub.repos[name]
        assert repo.tags[TAG] == repo.branches["main"] and len(hub.hub.titles(name)) == 1, name
    weights = hub.hub.read(ADAPTER, "adapter_model.safetensors", TAG)
    assert weights == trained.artifact("adapter-")["adapter/adapter_model.safetensors"]
    assert {name for name in hub.hub.files(GGUF, TAG) if name.endswith(".gguf")} == {
        "ticket-router-f16.gguf",
        "ticket-router-Q8_0.gguf",
    }
    assert hub.hub.files(MERGED, TAG)["model.safetensors"].size > 200 * 2**20

    (release,) = forge.github.releases.values()
    assert (release.tag_name, release.draft) == (TAG, False)
    files = {asset.name: asset.data for asset in release.assets.values()}
    assert {"SHA256SUMS", "receipts.json", "evaluation_report.yaml", "evaluation_report.html"} <= files.keys()
    sums = dict(reversed(line.split("  ", 1)) for line in files["SHA256SUMS"].decode().splitlines())
    for name, data in files.items():
        assert name == "SHA256SUMS" or sums[name] == hashlib.sha256(data).hexdigest(), name
    assert hashlib.sha256(weights).hexdigest() in sums.values()
    rows = {row["name"]: row for row in yaml.safe_load(files["evaluation_report.yaml"])["artefacts"]}
    for name in ("merged", "f16", "Q8_0"):
        assert rows[name]["passed"] is True and rows[name]["tokens_equal"] is True, rows[name]
    assert_recorded(forge, release)


def assert_recorded(forge: Forge, release: Release) -> None:
    (pull,) = forge.github.pulls.values()
    head = pull.head_sha
    assert pull.head_ref == f"release-record/{TAG}" and TAG in pull.title
    changed = set(forge.repository.changed("main", head))
    assert {f"iterations/{TAG}.yaml", "docs/integration_guide.md", TASK} <= changed
    iteration = yaml.safe_load(forge.repository.read(f"iterations/{TAG}.yaml", head))
    assert iteration["commit"] == forge.repository.sha(f"refs/tags/{TAG}")
    task = yaml.safe_load(forge.repository.read(TASK, head))
    assert (task["status"], task["released_version"]) == ("released", "1.0.0")


@pytest.mark.case("h, i")
def test_a_tag_publishes_what_was_evaluated_and_the_same_tag_again_publishes_nothing(
    start_forge: Start, trained: Trained, hub: HubServer
) -> None:
    """By Trusted Publishing: no secret, one short-lived token a repository, claims of this very job."""
    for name in REPOS:
        hub.hub.create(name, private=False)
        hub.hub.publishers[name] = {"repository": NAME, "environment": "hf-release"}
    forge = start_forge(hub=hub, trained=trained)
    run = forge.push_tag(TAG)
    assert results(run) == COMPLETE, run.log[-8000:]
    assert forge.github.refused == []
    assert_published(forge, hub, trained)

    before = state(forge, hub)
    again = forge.rerun(run)
    assert results(again) == COMPLETE, again.log[-8000:]
    assert state(forge, hub) == before


@pytest.mark.case("j")
def test_one_repository_that_fails_makes_the_run_red_and_the_next_run_completes_it(
    start_forge: Start, trained: Trained, hub: HubServer
) -> None:
    forge = start_forge(hub=hub, trained=trained)
    forge.release_secrets = {"HF_TOKEN": TOKEN}
    fault = hub.hub.fail("POST", f"/api/models/{GGUF}/commit/", status=500, times=1000)
    run = forge.push_tag(TAG)
    assert results(run) == expected("success", "skipped", "failure", "skipped", "skipped"), run.log[-8000:]
    assert run.failed_steps == ["Publish three repositories"]
    assert not any(repo.tags for repo in hub.hub.repos.values())
    assert forge.github.releases == {} and forge.github.pulls == {}
    assert TOKEN not in run.log

    fault.times = 0
    forge.github.fail("POST", r"/releases/\d+/assets", lose_reply=True)
    healed = forge.rerun(run)
    assert results(healed) == COMPLETE, healed.log[-8000:]
    assert_published(forge, hub, trained)


@pytest.mark.case("k")
def test_an_expired_adapter_is_trained_again_by_the_same_gate(
    start_forge: Start, trained: Trained, hub: HubServer
) -> None:
    hub.hub.create(BASE, private=False)  # asked for before a GPU is: nobody could train on what the Hub shows to nobody
    forge = start_forge(hub=hub, trained=trained)
    forge.release_secrets = {"HF_TOKEN": TOKEN}
    assert forge.github.expire("^adapter-") == 1
    run = forge.push_tag(TAG)
    assert results(run) == expected("success", "success", "success", "success", "success"), run.log[-8000:]
    assert {job: run.jobs[f"train / {job}"] for job in ("resolve", "approve", "train", "report")} == dict.fromkeys(
        ("resolve", "approve", "train", "report"), "success"
    )
    assert f"actions/runs/{trained.run.id}" in run.summary and "expired" in run.summary
    status = forge.github.last_status(trained.sha)
    assert status and status.state == "success"
    assert forge.github.refused == []
    assert_published(forge, hub, trained)


@pytest.mark.case("k")
def test_an_adapter_below_mains_threshold_is_not_released(start_forge: Start, trained: Trained, hub: HubServer) -> None:
    forge = start_forge(hub=hub, trained=trained)
    forge.release_secrets = {"HF_TOKEN": TOKEN}
    text = forge.repository.read(TASK)
    forge.repository.commit({TASK: set_value(text, "metrics.threshold", "0.99")})
    run = forge.push_tag(TAG)
    assert results(run) == expected("success", "skipped", "failure", "skipped", "skipped"), run.log[-8000:]
    assert "E635" in run.log and "0.99" in run.log
    assert hub.hub.requests == [] and forge.github.releases == {}


@pytest.mark.case("l")
def test_a_tag_off_main_is_refused(start_forge: Start, trained: Trained, hub: HubServer) -> None:
    forge = start_forge(hub=hub, trained=trained)
    side = forge.repository.commit({"README.md": "A side branch.\n"}, branch="side")
    run = forge.push_tag(TAG, side)
    assert results(run) == expected("failure", "skipped", "skipped", "skipped", "skipped")
    assert "E641" in run.log and hub.hub.requests == [] and forge.github.releases == {}


@pytest.mark.case("l")
def test_a_tag_that_moved_after_the_push_is_refused(start_forge: Start, trained: Trained, hub: HubServer) -> None:
    forge = start_forge(hub=hub, trained=trained)
    newer = forge.repository.commit({"README.md": "Newer.\n"}, branch=None, onto="main")
    forge.github.on_job["resolve"] = lambda: forge.repository.git("update-ref", f"refs/tags/{TAG}", newer)
    run = forge.push_tag(TAG)
    assert results(run) == expected("failure", "skipped", "skipped", "skipped", "skipped")
    assert hub.hub.requests == []
