"""train.yml under the real act: real training of SmolLM2-135M on a few rows, on the label `gpu`, judged by main."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fakes.github_store import Comment
from workflows import artifacts
from workflows.act import Run
from workflows.fixtures import Start, Trained, identity, open_forge, runner_environment
from workflows.forge import Forge
from workflows.repository import EXECUTABLE, LINK, Entry, Repository
from workflows.small import row, set_value
from workflows.times import note

GOOD = row("The parcel has been in Rotterdam since Monday, is it lost?", "shipping")
MARKER = "<!-- llm-ft-template:evaluation -->"
JOBS = ("resolve", "approve", "train", "report")
WEIGHTS = "adapter/adapter_model.safetensors"
TASK = "task_definition.yaml"


def results(*values: str) -> dict[str, str]:
    return dict(zip(JOBS, values, strict=True))


ALL_PASSED = results("success", "success", "success", "success")
REUSED = results("success", "skipped", "skipped", "success")
REFUSED = results("failure", "skipped", "skipped", "skipped")


def evaluation(forge: Forge, number: int) -> Comment:
    """The one evaluation comment of a pull request."""
    (found,) = [c for c in forge.github.comments_by_bot(number) if c.body.startswith(MARKER)]
    return found


def states(forge: Forge, sha: str) -> list[str]:
    """States of the commit's status, in order."""
    assert {status.context for status in forge.github.statuses} <= {"fine-tune/evaluation"}
    return [status.state for status in forge.github.statuses if status.sha == sha]


def dispatch(forge: Forge, sha: str, number: int | None = None, ref: str = "main") -> Run:
    """A maintainer starts training with the real gh, and it runs."""
    asked = forge.gh("workflow", "run", "train.yml", "--ref", ref, "-f", f"sha={sha}", "-f", f"pr={number or ''}")
    assert asked.returncode == 0, asked.stderr
    (run,) = forge.run_dispatches()
    return run


@pytest.mark.case("c")
def test_a_pull_request_is_trained_and_judged_and_nothing_is_trained_twice(forge: Forge) -> None:
    number = forge.open_pull({"data/raw/more.jsonl": GOOD})
    sha = forge.head(number)
    asked = forge.pull_request(number)
    (run,) = forge.run_dispatches()
    assert run.jobs == ALL_PASSED, run.log[-6000:]
    assert forge.github.refused == []
    assert states(forge, sha) == ["pending", "success"]
    comment = evaluation(forge, number)
    assert "✅" in comment.body and f"actions/runs/{run.id}" in comment.body and "macro_f1" in comment.body
    assert "41 training, 15 validation and 15 test rows" in comment.body
    files = forge.artifact("adapter-")
    assert {WEIGHTS, "results/evaluation_report.yaml", "run.json"} <= files.keys()
    packed = json.loads(files["run.json"])
    assert (packed["sha"], packed["pr"], packed["run_id"]) == (sha, number, run.id)
    frozen = json.loads(forge.artifact("input")["input.json"])
    assert frozen["sha"] == sha and frozen["source"] == "repository"

    # The same commit asked for again: the run is found, nothing is trained, the comment is the same one.
    again = dispatch(forge, sha, number)
    assert again.jobs == REUSED, again.log[-6000:]
    assert states(forge, sha) == ["pending", "success"] * 2
    assert evaluation(forge, number).id == comment.id
    assert "Nothing was trained" in evaluation(forge, number).body
    assert f"actions/runs/{run.id}" in evaluation(forge, number).body

    # Neither a second look at the pull request nor main after the merge ask for it.
    looked = forge.rerun(asked)
    assert looked.outputs["request-training", "request", "training"] == "known", looked.log[-3000:]
    assert looked.outputs["request-training", "request", "run"] == str(run.id)
    merged = forge.push(*forge.merge_pull(number))
    assert merged.outputs["request-training", "request", "training"] == "known", merged.log[-3000:]
    assert forge.run_dispatches() == []
    assert len(forge.github.comments_by_bot(number)) == 2


@pytest.mark.case("e")
def test_the_data_of_a_fork_is_trained_with_mains_code(forge: Forge, tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    evil = f"open({str(owned)!r}, 'w').close()\n"
    changed = {"data/raw/more.jsonl": GOOD}
    for name in ("finetune/__init__.py", "scripts/02_convert_format.py", "scripts/github.py"):
        changed[name] = evil + forge.repository.read(name)
    for name in (".github/workflows/train.yml", ".github/actions/setup/setup.py"):
        changed[name] = forge.repository.read(name) + "\n# mine\n"
    text = forge.repository.read(TASK)
    changed["configs/benchmark_config.yaml"] = set_value(
        forge.repository.read("configs/benchmark_config.yaml"), "bootstrap.seed", "7"
    )
    changed[TASK] = set_value(text, "metrics.threshold", "0.001")
    number = forge.open_pull(changed, fork=True)
    run = dispatch(forge, forge.head(number), number)
    assert run.jobs == ALL_PASSED, run.log[-6000:]
    assert not owned.exists()
    frozen = json.loads(forge.artifact("input")["input.json"])
    assert frozen["source"] == "fork" and frozen["main_sha"] == forge.repository.sha()
    files = {name.removeprefix("files/"): data for name, data in forge.artifact("input").items()}
    assert files["data/raw/more.jsonl"].decode() == GOOD
    ours = {name for name in files if name.startswith(("finetune/", "scripts/")) or name in (TASK, "constraints.txt")}
    assert len(ours) > 50
    for name in ours | {"configs/benchmark_config.yaml"}:
        assert files[name].decode() == forge.repository.read(name), name
    comment = evaluation(forge, number)
    assert "main's code" in comment.body and "Policy change" in comment.body
    assert states(forge, forge.head(number)) == ["pending", "success"]


@pytest.mark.case("e")
def test_what_a_fork_may_not_bring_is_refused_by_name(forge: Forge) -> None:
    number = forge.open_pull(
        {
            "data/raw/link.jsonl": Entry(LINK, b"/etc/passwd"),
            "data/raw/run.jsonl": Entry(EXECUTABLE, GOOD.encode()),
            "data/raw/$(id).jsonl": GOOD,
        },
        fork=True,
    )
    # What only its content tells is looked at once the tree has nothing against it: until then nothing is downloaded.
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    second = forge.open_pull({"data/raw/pointer.jsonl": pointer}, fork=True)
    for pull, names in ((number, ("link.jsonl", "run.jsonl", "$(id).jsonl")), (second, ("pointer.jsonl",))):
        run = dispatch(forge, forge.head(pull), pull)
        assert run.jobs == REFUSED, run.log[-6000:]
        refused = " ".join(f"{found.file} {found.message}" for found in run.annotations if found.kind == "error")
        assert all(name in refused for name in names), refused
        assert states(forge, forge.head(pull)) == ["error"]


@pytest.mark.case("f")
def test_a_head_that_moved_before_the_start_is_refused(forge: Forge) -> None:
    number = forge.open_pull({"data/raw/more.jsonl": GOOD})
    old = forge.head(number)
    new = forge.push_to_pull(number, {"data/raw/more.jsonl": GOOD * 2})
    run = dispatch(forge, old, number)
    assert run.jobs == REFUSED and "E611" in run.log
    assert states(forge, old) == ["error"] and states(forge, new) == []
    assert forge.github.comments == {}


@pytest.mark.case("f")
def test_only_main_starts_training_and_only_what_is_on_it_or_in_a_pull_request(forge: Forge) -> None:
    number = forge.open_pull({"data/raw/more.jsonl": GOOD}, fork=True)
    sideways = dispatch(forge, forge.head(number))
    assert sideways.jobs == REFUSED and "E613" in sideways.log
    branch = forge.open_pull({"README.md": "changed"}, branch="feature")
    elsewhere = dispatch(forge, forge.head(branch), branch, ref="feature")
    assert elsewhere.jobs == REFUSED and "E610" in elsewhere.log
    assert "success" not in {status.state for status in forge.github.statuses}


@pytest.mark.case("g")
def test_below_mains_threshold_the_status_fails_and_the_comment_says_why(start_forge: Start, trained: Trained) -> None:
    """The adapter is the one that `trained` made: a threshold is no part of its fingerprint."""
    forge = start_forge(trained=trained)
    text = forge.repository.read(TASK)
    forge.repository.commit({TASK: set_value(text, "metrics.threshold", "0.99")})
    number = forge.open_pull({TASK: set_value(text, "metrics.threshold", "0.02")})
    run = dispatch(forge, forge.head(number), number)
    assert run.jobs == results("success", "skipped", "skipped", "failure"), run.log[-6000:]
    assert states(forge, forge.head(number)) == ["pending", "failure"]
    comment = evaluation(forge, number)
    assert comment.body.index("❌") < comment.body.index("macro_f1") < comment.body.index("0.99")
    assert "Policy change" in comment.body and "0.99 → 0.02" in comment.body
    status = forge.github.last_status(forge.head(number))
    assert status and "0.99" in status.description and f"issuecomment-{comment.id}" in str(status.target_url)


def test_a_comment_that_cannot_be_written_loses_nothing(start_forge: Start, trained: Trained) -> None:
    forge = start_forge(trained=trained)
    number = forge.open_pull({"README.md": "A word more.\n"})
    forge.github.pulls[number].locked = True
    run = dispatch(forge, forge.head(number), number)
    assert run.jobs == REUSED, run.log[-6000:]
    assert states(forge, forge.head(number)) == ["pending", "success"]
    assert forge.github.comments == {} and "macro_f1" in run.summary


def test_training_that_fails_is_said_and_never_green(forge: Forge) -> None:
    text = forge.repository.read("configs/training_config.yaml")
    text = set_value(text, "base_model.id", "acme/not-there")
    number = forge.open_pull({"configs/training_config.yaml": text})
    run = dispatch(forge, forge.head(number), number)
    assert run.jobs == results("success", "success", "failure", "success"), run.log[-6000:]
    assert run.failed_steps == ["Fetch the base model, by main's code and before the input's own runs"]
    assert states(forge, forge.head(number)) == ["pending", "error"]
    assert "training failed" in evaluation(forge, number).body


@pytest.mark.parametrize("part", ["report", "weights", "extra"])
def test_an_artifact_that_was_tampered_with_is_not_judged(start_forge: Start, trained: Trained, part: str) -> None:
    forge = start_forge(trained=trained)
    files = forge.artifact("adapter-")
    if part == "report":
        name = "results/evaluation_report.yaml"
        files[name] = re.sub(rb"value: [0-9.]+", b"value: 1.0", files[name])
    elif part == "weights":
        files[WEIGHTS] = files[WEIGHTS][:-1] + bytes([files[WEIGHTS][-1] ^ 1])
    else:
        files["adapter/modeling.py"] = b"import os"
    artifacts.replace(forge.github.artifacts, "adapter-", files)
    number = forge.open_pull({"README.md": "A word more.\n"})
    run = dispatch(forge, forge.head(number), number)
    assert run.jobs == results("success", "skipped", "skipped", "failure"), run.log[-6000:]
    assert states(forge, forge.head(number)) == ["pending", "error"]
    assert "Not judged" in evaluation(forge, number).body


@dataclass(frozen=True)
class Busy:
    """Two trainings one after the other in one folder, as on a runner that keeps its workspace."""

    forge: Forge
    number: int
    old: str
    new: str
    superseded: Run
    second: Run


@pytest.fixture(scope="module")
def busy(small: Repository, base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    """First a pull request that is pushed to while it trains, then main's commit."""
    folder = tmp_path_factory.mktemp("busy")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in identity(folder).items():
            patch.setenv(name, value)
        forge = open_forge(stack, small, folder, runner_environment(base_model, None))
        forge.kept["train"] = folder / "workspace"
        number = forge.open_pull({"data/raw/more.jsonl": GOOD})
        old = forge.head(number)
        forge.github.on_job["train"] = lambda: forge.push_to_pull(number, {"data/raw/more.jsonl": GOOD * 2})
        superseded = dispatch(forge, old, number)
        second = dispatch(forge, forge.repository.sha())
        yield Busy(forge, number, old, forge.head(number), superseded, second)


@pytest.mark.case("f")
def test_a_head_that_moved_in_mid_training_gets_no_verdict(busy: Busy, request: pytest.FixtureRequest) -> None:
    note(request.node, [busy.superseded])
    assert busy.superseded.jobs == ALL_PASSED, busy.superseded.log[-6000:]
    assert states(busy.forge, busy.old) == ["pending", "error"]
    assert states(busy.forge, busy.new) == []
    comment = evaluation(busy.forge, busy.number)
    assert "Superseded" in comment.body and busy.new[:12] in comment.body and "✅" not in comment.body


def test_a_dirty_workspace_trains_the_same_adapter_as_a_clean_one(
    busy: Busy, trained: Trained, request: pytest.FixtureRequest
) -> None:
    note(request.node, [busy.second])
    assert busy.second.jobs == ALL_PASSED, busy.second.log[-6000:]
    left = busy.forge.kept["train"] / "build" / "work" / "models"
    assert left.is_dir(), "the workspace was not used"
    dirty = busy.forge.artifact("adapter-")
    clean = trained.artifact("adapter-")
    for name in (WEIGHTS, "adapter/adapter_config.json"):
        assert dirty[name] == clean[name], name
    assert _answers(dirty) == _answers(clean)


def _answers(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """The adapter's predictions without their seconds."""
    rows = [json.loads(line) for line in files["results/predictions/adapter.jsonl"].splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
