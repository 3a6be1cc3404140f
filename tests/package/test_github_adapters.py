"""An adapter travels as a folder that names every byte (T18, R28), and is reused only from a run we trust (R27)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluated_run import RUN, SHA, EvaluatedRun, make_run
from finetune import provenance
from finetune.errors import FinetuneError, GateFailed, StorageFault
from finetune.evaluation.report import read_report
from finetune.github.train.adapter_folder import read_adapter
from finetune.github.train.adapters import pack, place_adapter
from finetune.github.train.evaluated_runs import Evaluated, find_evaluated
from github_fake import GitHubFake, paged
from pipeline_fakes import with_data


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluatedRun:
    return at_work(tmp_path, monkeypatch)


def at_work(tmp_path: Path, patch: pytest.MonkeyPatch, **options: Any) -> EvaluatedRun:
    patch.setenv("GITHUB_REPOSITORY", "acme/demo")
    patch.setenv("GITHUB_RUN_ID", str(RUN))
    patch.delenv("GITHUB_RUN_ATTEMPT", raising=False)
    return make_run(tmp_path / "main", **options)


def packed(run: EvaluatedRun, work: Path = Path("build/work")) -> dict[str, Any]:
    assert pack(run.project, work, run.fingerprint) == 0
    return read_adapter(run.artifact, run.fingerprint).model_dump(mode="json")


def test_packing_takes_what_the_steps_wrote_and_names_every_byte(
    run: EvaluatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = run.project.paths.root / "build" / "work"
    (work / "models" / "adapter" / "notes.txt").write_text("not the trainer's", encoding="utf-8")
    monkeypatch.setenv("GITHUB_RUN_ATTEMPT", "3")
    told = packed(run)
    assert sorted(told["files"]) == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/manifest.json",
        "adapter/training_log.jsonl",
        "data/manifest.json",
        "results/evaluation_report.html",
        "results/evaluation_report.md",
        "results/evaluation_report.yaml",
        "results/predictions/adapter.jsonl",
        "results/predictions/adapter.manifest.json",
        "results/predictions/zero_shot.jsonl",
        "results/predictions/zero_shot.manifest.json",
    ]
    there = sorted(p.relative_to(run.artifact).as_posix() for p in run.artifact.rglob("*") if p.is_file())
    assert there == sorted([*told["files"], "run.json"])
    assert {key: told[key] for key in ("sha", "pr", "repository", "run_id", "run_attempt", "digest")} == {
        "sha": SHA,
        "pr": 7,
        "repository": "acme/demo",
        "run_id": RUN,
        "run_attempt": 3,
        "digest": run.digest,
    }


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("models/adapter/manifest.json", "run scripts/03_train.py first"),
        ("models/adapter/adapter_config.json", "run scripts/03_train.py first"),
        ("benchmarks/results/evaluation_report.yaml", "04_evaluate.py --report-only first"),
        ("benchmarks/results/evaluation_report.md", "evaluation_report.md is missing"),
        ("data/chat_format/manifest.json", "data/manifest.json is missing"),
        ("benchmarks/results/predictions/adapter.jsonl", "predictions/adapter.jsonl is missing"),
    ],
)
def test_what_has_not_finished_is_not_packed(run: EvaluatedRun, gone: str, said: str) -> None:
    before = provenance.tree_digest(run.artifact)
    (run.project.paths.root / "build" / "work" / gone).unlink()
    with pytest.raises(FinetuneError, match=r"E63[13] ") as failure:
        packed(run)
    assert said in str(failure.value)
    assert provenance.tree_digest(run.artifact) == before


def test_a_link_in_the_workspace_is_not_followed(run: EvaluatedRun, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret", encoding="utf-8")
    (run.project.paths.root / "build/work/benchmarks/results/predictions/extra.jsonl").symlink_to(secret)
    with pytest.raises(StorageFault, match=r"E637 results/predictions/extra\.jsonl is no regular file"):
        packed(run)


def test_a_checkpoint_in_the_adapter_is_not_packed(run: EvaluatedRun) -> None:
    folder = run.project.paths.root / "build" / "work" / "models" / "adapter"
    (folder / "optimizer.pt").write_bytes(b"pickle")
    outputs = [path for path in folder.iterdir() if path.name != "manifest.json"]
    provenance.write_manifest(folder / "manifest.json", step="03_train", inputs={}, outputs=outputs, facts={})
    with pytest.raises(StorageFault, match=r"E637 adapter/optimizer\.pt may not be packed"):
        packed(run)


def test_an_input_of_another_fingerprint_is_not_packed(run: EvaluatedRun) -> None:
    with pytest.raises(StorageFault, match="E632 build/input is of another fingerprint"):
        pack(run.project, Path("build/work"), "0" * 64)


# What arrives ---------------------------------------------------------------------------------------------------------


def damaged(run: EvaluatedRun, said: str, code: str = "E631") -> None:
    with pytest.raises(FinetuneError) as failure:
        read_adapter(run.artifact, run.fingerprint)
    assert failure.value.code == code and said in str(failure.value), str(failure.value)
    assert str(failure.value).isprintable()


def test_one_flipped_byte_is_seen(run: EvaluatedRun) -> None:
    file = run.artifact / "adapter" / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    damaged(run, "adapter/adapter_model.safetensors was changed")


def test_a_missing_an_extra_and_a_longer_file_are_all_named(run: EvaluatedRun) -> None:
    (run.artifact / "adapter" / "training_log.jsonl").unlink()
    (run.artifact / "adapter" / "evil\n::error::.json").write_text("{}", encoding="utf-8")
    with open(run.artifact / "data" / "manifest.json", "a", encoding="utf-8") as file:
        file.write(" ")
    damaged(run, "adapter/training_log.jsonl is missing")
    damaged(run, "adapter/evil\\n::error::.json is not in run.json")
    damaged(run, "data/manifest.json has ")


@pytest.mark.parametrize(
    "name",
    [
        "adapter/training_args.bin",
        "adapter/optimizer.pt",
        "adapter/modeling.py",
        "adapter/deep/down.json",
        "adapter/.hidden.json",
        "results/other.yaml",
        "results/predictions/x.pkl",
        "data/test.jsonl",
        "extra.json",
    ],
)
def test_a_file_with_no_place_in_it_is_refused_also_when_it_is_listed(run: EvaluatedRun, name: str) -> None:
    (run.artifact / name).parent.mkdir(parents=True, exist_ok=True)
    (run.artifact / name).write_text("{}", encoding="utf-8")
    run.reseal()
    damaged(run, f"{name} is not allowed in it")


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "adapter/../../x.json", "adapter\\x.json"])
def test_a_name_that_leads_out_is_never_read(run: EvaluatedRun, name: str) -> None:
    edit_run(run, lambda told: told["files"].update({name: {"sha256": "0" * 64, "bytes": 1}}))
    damaged(run, "is not allowed in it")


def test_links_pipes_and_linked_folders_are_refused(run: EvaluatedRun, tmp_path: Path) -> None:
    log = run.artifact / "adapter" / "training_log.jsonl"
    log.rename(tmp_path / "log.jsonl")
    log.symlink_to(tmp_path / "log.jsonl")
    damaged(run, "adapter/training_log.jsonl is not a regular file")
    log.unlink()
    os.mkfifo(log)
    damaged(run, "adapter/training_log.jsonl is not a regular file")
    run.predictions.rename(tmp_path / "predictions")
    run.predictions.symlink_to(tmp_path / "predictions")
    damaged(run, "results/predictions is not a regular file")


def test_ten_sparse_gigabytes_are_refused_unread(run: EvaluatedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    file = run.artifact / "adapter" / "adapter_model.safetensors"
    with open(file, "r+b") as opened:
        opened.truncate(10 << 30)
    read: list[str] = []
    monkeypatch.setattr("finetune.provenance.sha256", lambda path: read.append(path.name) or "")
    damaged(run, "adapter/adapter_model.safetensors has 10,737,418,240 bytes")
    assert file.name not in read
    edit_run(run, lambda told: told["files"]["adapter/adapter_model.safetensors"].update(bytes=10 << 30))
    damaged(run, "run.json is unusable: malformed")


def test_a_flood_of_files_is_refused(run: EvaluatedRun) -> None:
    for number in range(300):
        (run.artifact / "adapter" / f"{number}.json").touch()
    damaged(run, "more. Fix: ")


def test_a_configuration_that_loads_code_is_refused(run: EvaluatedRun) -> None:
    path = run.artifact / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({"auto_map": {"AutoModel": "evil.Model"}}), encoding="utf-8")
    run.reseal()
    damaged(run, "adapter_config.json (auto_map)", "E510")


def edit_run(run: EvaluatedRun, change: Callable[[dict[str, Any]], object]) -> None:
    path = run.artifact / "run.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    change(told)
    path.write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(version=True),
        lambda told: told.update(run_id="55"),
        lambda told: told.update(run_id=0),
        lambda told: told.update(sha="a1b2"),
        lambda told: told.update(sha="a1" * 20 + "\n"),
        lambda told: told.update(repository="acme/demo`](x)"),
        lambda told: told.update(created="<img>"),
        lambda told: told.update(extra=1),
        lambda told: told.pop("digest"),
        lambda told: told["files"]["data/manifest.json"].pop("sha256"),
    ],
)
def test_a_malformed_run_file_is_refused(run: EvaluatedRun, change: Callable[[dict[str, Any]], object]) -> None:
    edit_run(run, change)
    damaged(run, "run.json is unusable: malformed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"version": 1, "version": 1}', "a key stands there twice"), ('{"version": NaN}', "NaN is no number"),
        ('{"version": 1e999}', "1e999 is no finite number"), ("{", "not JSON"), ("[" * 100_000, "not JSON"),
        (" " * (2 << 20), "bytes, more than 1,048,576"), ("\udcff", "not JSON"),
    ],
)  # fmt: skip
def test_a_run_file_that_is_no_plain_json_is_refused(run: EvaluatedRun, text: str, said: str) -> None:
    (run.artifact / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    damaged(run, said)


def test_a_missing_run_file_means_it_was_never_finished(run: EvaluatedRun) -> None:
    (run.artifact / "run.json").unlink()
    damaged(run, "run.json is unusable: missing")


def test_an_adapter_of_another_fingerprint_is_refused(run: EvaluatedRun) -> None:
    with pytest.raises(StorageFault, match="E632 the adapter artifact is of another fingerprint"):
        read_adapter(run.artifact, "0" * 64)


# What is released -----------------------------------------------------------------------------------------------------


def test_a_good_adapter_is_placed_with_its_measurements(run: EvaluatedRun) -> None:
    project = with_data(run.project)
    (run.artifact / "results" / "evaluation_report.html").write_text("<script>", encoding="utf-8")
    (run.artifact / "results" / "evaluation_report.md").write_text("approved by @acme", encoding="utf-8")
    run.reseal()
    assert place_adapter(project, run.fingerprint) == 0
    assert provenance.tree_digest(project.paths.adapter) == provenance.tree_digest(run.artifact / "adapter")
    assert provenance.tree_digest(project.paths.predictions) == provenance.tree_digest(run.predictions)
    report = read_report(project)
    assert report and report.verdict == "passed"
    assert "approved" not in project.paths.report_md.read_text(encoding="utf-8")
    assert "<script>" not in project.paths.report_html.read_text(encoding="utf-8")
    assert place_adapter(project, run.fingerprint) == 0, "and again"


def nothing_placed(run: EvaluatedRun, error: type[FinetuneError], said: str, code: str) -> None:
    (run.project.paths.adapter / "mine").mkdir(parents=True)
    with pytest.raises(error) as failure:
        place_adapter(run.project, run.fingerprint)
    assert failure.value.code == code and said in str(failure.value), str(failure.value)
    assert [path.name for path in run.project.paths.adapter.iterdir()] == ["mine"]
    assert not run.project.paths.report_yaml.exists() and not run.project.paths.predictions.exists()


def test_an_adapter_below_the_threshold_is_not_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = at_work(tmp_path, monkeypatch, wrong=4)
    with_data(run.project)
    nothing_placed(run, GateFailed, "wanted at least 0.800", "E635")
    assert GateFailed.exit_code == 76


def test_an_adapter_measured_on_another_test_set_is_not_placed(run: EvaluatedRun) -> None:
    with_data(run.project).paths.test.open("a", encoding="utf-8").write("{}\n")
    nothing_placed(run, GateFailed, "data.test_sha256 names another test set", "E635")


def test_an_adapter_trained_on_another_split_is_not_placed(run: EvaluatedRun) -> None:
    with_data(run.project).paths.train.open("a", encoding="utf-8").write("{}\n")
    nothing_placed(run, GateFailed, "trained on another training split", "E635")


def test_an_adapter_of_other_data_is_not_placed(run: EvaluatedRun) -> None:
    rows = run.project.paths.raw / "more.jsonl"
    rows.write_text('{"input": "a new case about the login page", "label": "account"}\n', encoding="utf-8")
    with_data(run.project)
    nothing_placed(run, FinetuneError, "this checkout would train another adapter", "E634")


def test_nothing_is_placed_without_a_test_set_to_judge_by(run: EvaluatedRun) -> None:
    nothing_placed(run, FinetuneError, "run scripts/02_convert_format.py first", "E410")


def test_a_damaged_adapter_is_not_placed(run: EvaluatedRun) -> None:
    with_data(run.project)
    (run.artifact / "adapter" / "adapter_model.safetensors").write_bytes(b"\2\2")
    nothing_placed(run, StorageFault, "adapter_model.safetensors was changed", "E631")


# What is reused -------------------------------------------------------------------------------------------------------

FINGERPRINT = "f" * 64
OURS, FORK = 1, 2


class Actions:
    """Artifacts and runs of a repository, served as GitHub lists them."""

    def __init__(self) -> None:
        self.artifacts: list[dict[str, Any]] = []
        self.runs: dict[int, dict[str, Any]] = {}
        self.on_main = {SHA}

    def add(
        self,
        number: int,
        *,
        name: str = f"adapter-{FINGERPRINT}",
        expired: bool = False,
        head_repository: int = OURS,
        path: str = ".github/workflows/train.yml",
        event: str = "workflow_dispatch",
        branch: str = "main",
        sha: str = SHA,
    ) -> None:
        told = {"id": number, "head_branch": branch, "head_sha": sha}
        owner = {"repository_id": OURS, "head_repository_id": head_repository}
        created = f"2026-11-{number % 28 + 1:02d}T00:00:00Z"
        self.artifacts.append(
            {
                "id": number + 1000,
                "name": name,
                "expired": expired,
                "created_at": created,
                "workflow_run": told | owner,
            }
        )
        self.runs[number] = told | {"path": path, "event": event}

    def listed(self, request: Any) -> Any:
        return paged(request, [row for row in self.artifacts if row["name"] == request.query["name"]], "artifacts")

    def compared(self, request: Any, pair: str) -> Any:
        base, _, sha = pair.partition("...")
        assert base == "main"
        return {"status": "behind" if sha in self.on_main else "diverged"}


@pytest.fixture
def actions() -> Actions:
    return Actions()


@pytest.fixture
def find(actions: Actions, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
    with GitHubFake() as github:
        github.routes = {
            "GET /repos/acme/demo/actions/artifacts": actions.listed,
            "GET /repos/acme/demo/actions/runs/{run}": lambda request, run: actions.runs.get(int(run)) or missing(),
            "GET /repos/acme/demo/compare/{pair}": actions.compared,
        }
        github.environment(monkeypatch)
        yield lambda fingerprint=FINGERPRINT: find_evaluated(github.client(), fingerprint)


def missing() -> Any:
    from github_fake import Answer

    return Answer(404, {"message": "Not Found"})


def test_the_newest_adapter_of_the_fingerprint_is_found_on_any_page(actions: Actions, find: Any) -> None:
    for number in range(1, 251):
        actions.add(number, head_repository=FORK)
    actions.add(17, name="adapter-" + "e" * 64)
    actions.add(3)
    actions.add(9)
    assert find() == Evaluated(9, "2026-11-10T00:00:00Z", False)


def test_nothing_is_found_where_nothing_is(find: Any) -> None:
    assert find() is None


def test_an_expired_adapter_is_told_as_such_and_a_living_one_goes_first(actions: Actions, find: Any) -> None:
    actions.add(9, expired=True)
    assert find() == Evaluated(9, "2026-11-10T00:00:00Z", True)
    actions.add(3)
    assert find() == Evaluated(3, "2026-11-04T00:00:00Z", False)


@pytest.mark.parametrize("tag", ["v1.2.0", "v1.2.0-rc.1", "v2.0.0-alpha.beta-7"])
def test_a_release_whose_tag_is_on_main_counts(actions: Actions, find: Any, tag: str) -> None:
    actions.add(5, path=f".github/workflows/release.yml@refs/tags/{tag}", event="push", branch=tag)
    assert find().run_id == 5


@pytest.mark.parametrize(
    "strange",
    [
        {"head_repository": FORK},
        {"branch": "feature"},
        {"event": "pull_request"},
        {"event": "push"},
        {"path": ".github/workflows/other.yml"},
        {"path": "x/.github/workflows/train.yml"},
        {"path": ".github/workflows/release.yml"},
        {"path": ".github/workflows/release.yml", "event": "push", "branch": "main"},
        {"path": ".github/workflows/release.yml", "event": "push", "branch": "v1"},
        {"path": ".github/workflows/release.yml", "event": "push", "branch": "v1.2.0-rc..1"},
        {"path": ".github/workflows/release.yml", "event": "push", "branch": "v1.2.0-rc.1/x"},
        {"path": ".github/workflows/release.yml", "event": "push", "branch": "v1.2.0", "sha": "d" * 40},
        {"path": ".github/workflows/release.yml", "event": "push", "branch": "v1.2.0", "sha": "../../x"},
        {"name": f"adapter-{FINGERPRINT} "},
    ],
)
def test_an_adapter_from_anywhere_else_is_not_reused(actions: Actions, find: Any, strange: dict[str, Any]) -> None:
    actions.add(5, **strange)
    assert find() is None
    actions.add(4)
    assert find().run_id == 4, "and does not stand in the way of a good one"


def test_a_run_that_is_gone_and_rows_that_are_malformed_are_passed_over(actions: Actions, find: Any) -> None:
    actions.add(5)
    actions.runs.clear()
    actions.artifacts += [
        {"name": f"adapter-{FINGERPRINT}", "id": 1, "expired": False},
        {"name": f"adapter-{FINGERPRINT}", "id": 2, "expired": False, "workflow_run": {"id": 5}},
        {"name": f"adapter-{FINGERPRINT}", "id": 3, "expired": "no", "workflow_run": None},
    ]
    assert find() is None


def test_a_default_branch_of_another_name_is_heeded(
    actions: Actions, find: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"repository": {"default_branch": "trunk"}}), encoding="utf-8")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    actions.add(5)
    assert find() is None
    actions.add(6, branch="trunk")
    assert find().run_id == 6


def test_what_is_no_fingerprint_is_never_asked_for(find: Any) -> None:
    with pytest.raises(FinetuneError, match="E603"):
        find("../../x")
