"""Publishing three repositories with the real huggingface_hub client, against a Hub that fails in every way we know.

The script of the generated repository runs as a process of its own: HF_ENDPOINT is read when the client is imported,
and a killed publisher is a killed process.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes import hub_xet
from fakes.hub import HubServer, start_hub
from fakes.hub_store import Identity, StoredFile
from support.publishing import REPOS, Publisher, assert_complete, assert_old_or_complete, build, expect

FIRST, SECOND, THIRD = REPOS
RELEASE = "release_manifest.json"


def by_hand(server: HubServer, repo: str, files: dict[str, bytes]) -> None:
    """Somebody puts `files` beside what is in the repository."""
    there = dict(server.hub.repos[repo].commits[server.hub.repos[repo].branches["main"]].files)
    there |= {path: server.hub.small_file(path, content) for path, content in files.items()}
    server.hub.repos[repo].add_commit("main", there, "by hand")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task repository whose pipeline ran through, made once."""
    return build(tmp_path_factory.mktemp("finished") / "repository")


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same task with other weights."""
    return build(tmp_path_factory.mktemp("retrained") / "repository", seed=7)


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "repository"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    with start_hub(tmp_path) as server:
        yield server


@pytest.fixture
def publish(server: HubServer, tmp_path: Path) -> Publisher:
    return Publisher(server, tmp_path / "hf-home")


@pytest.fixture(scope="session")
def wanted(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The planned files by repository, as a dry run prints them."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("planned") / "repository"))
    with start_hub(tmp_path_factory.mktemp("unused")) as server:
        expect(Publisher(server, root)(root, "--dry-run"), 0, "nothing was uploaded")
        assert {request[0] for request in server.hub.requests} <= {"GET"}
    plan = json.loads((root / "benchmarks/results/publish/plan.json").read_text(encoding="utf-8"))
    return {entry["repo"]: {file["path"] for file in entry["files"]} for entry in plan["repositories"]}


def test_three_repositories_in_one_commit_each_and_tagged(publish: Publisher, server: HubServer, project: Path) -> None:
    expect(publish(project), 0, "published")
    assert_complete(server, project)
    weights = (project / "models/merged/model.safetensors").read_bytes()
    assert server.hub.read(THIRD, "model.safetensors", "v1.0.0") == weights
    assert server.hub.titles(FIRST) == ["small-task v1.0.0"]
    tags, commits = (
        server.hub.requests.index(first)
        for first in (
            next(r for r in server.hub.requests if "/tag/" in r[1]),
            [r for r in server.hub.requests if "/commit/" in r[1]][-1],
        )
    )
    assert tags > commits


def test_second_run_does_nothing_with_or_without_receipts(publish: Publisher, server: HubServer, project: Path) -> None:
    expect(publish(project), 0)
    asked = len(server.hub.requests)
    expect(publish(project), 0, "is published")
    assert len(server.hub.requests) == asked
    (project / "benchmarks/results/publish/receipts.json").unlink()
    expect(publish(project), 0, "tagged already")
    expect(publish(project, "--force"), 0, "tagged already")
    assert server.hub.calls("POST", "/commit/") == 3 and server.hub.calls("POST", "/tag/") == 3
    assert_complete(server, project)


def test_next_version_replaces_what_the_last_one_left(
    publish: Publisher, server: HubServer, project: Path, retrained: Path, tmp_path: Path
) -> None:
    expect(publish(project), 0)
    before = server.hub.files(THIRD)
    released = json.loads(server.hub.read(SECOND, RELEASE))
    released["files"]["old-Q2_K.gguf"] = {"bytes": 10, "sha256": "0" * 64}  # of a quantisation that was given up
    by_hand(server, SECOND, {"old-Q2_K.gguf": b"unmeasured", RELEASE: json.dumps(released).encode()})
    newer = Path(shutil.copytree(retrained, tmp_path / "newer"))
    dry = publish(newer, "--dry-run", version="1.1.0")
    expect(dry, 0, "deleted: old-Q2_K.gguf", "nothing was uploaded")
    assert server.hub.calls("POST", "/commit/") == 3
    done = publish(newer, version="1.1.0")
    expect(done, 0, "acme/small-gguf: replaced: README.md, release_manifest.json, ")
    told = [line.strip() for line in dry[1].splitlines() if ": replaced: " in line]
    assert len(told) == 3 and set(told) <= {line.strip() for line in done[1].splitlines()}
    assert "old-Q2_K.gguf" not in server.hub.files(SECOND)
    assert server.hub.files(THIRD)["model.safetensors"] != before["model.safetensors"]
    repo = server.hub.repos[THIRD]
    assert repo.tags["v1.0.0"] != repo.tags["v1.1.0"] == repo.branches["main"]


OTHERS = {"LICENSE": b"theirs", "assets/curve.png": b"png", "imatrix.dat": b"\0" * 9, "small-task-IQ2_XS.gguf": b"gg"}


@pytest.mark.parametrize("first", [True, False], ids=["before the first release", "after it"])
def test_what_no_release_wrote_stays(
    publish: Publisher, server: HubServer, project: Path, retrained: Path, tmp_path: Path, first: bool
) -> None:
    if first:
        server.hub.create(SECOND, private=False)
    else:
        expect(publish(project), 0)
    by_hand(server, SECOND, OTHERS)
    newer = Path(shutil.copytree(retrained, tmp_path / "newer"))
    kept = "kept, written by no release: LICENSE, assets/curve.png, imatrix.dat, small-task-IQ2_XS.gguf"
    expect(publish(newer, "--dry-run", version="1.1.0"), 0, kept)
    plan = json.loads((newer / "benchmarks/results/publish/plan.json").read_text(encoding="utf-8"))
    changes = {entry["repo"]: entry["changes"] for entry in plan["repositories"]}[SECOND]
    assert set(changes["kept"]) == OTHERS.keys() and changes["deleted"] == changes["foreign"] == []
    assert set(changes["added"] if first else changes["replaced"]) >= {"README.md", RELEASE}
    expect(publish(newer, version="1.1.0"), 0, kept)
    assert {path: server.hub.read(SECOND, path, "v1.1.0") for path in OTHERS} == OTHERS
    expect(publish(newer, "--force", version="1.1.0"), 0, "tagged already")


@pytest.mark.parametrize("content", [b"# mine", b""])
def test_a_file_of_others_in_the_way_is_refused_before_any_upload(
    publish: Publisher, server: HubServer, project: Path, content: bytes
) -> None:
    server.hub.create(THIRD, private=False)
    by_hand(server, THIRD, {"README.md": content})
    expect(publish(project, "--dry-run"), 0, "acme/small: added: ", "in the way, written by no release: README.md")
    expect(publish(project), 2, "E821 acme/small has README.md, which no release wrote")
    assert server.hub.calls("POST", "/commit/") == 0
    assert server.hub.read(THIRD, "README.md") == content


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"version": "1", "files": {"a": 1}}', b"\xff"])
def test_a_damaged_release_manifest_makes_nothing_ours(
    publish: Publisher, server: HubServer, project: Path, content: bytes
) -> None:
    server.hub.create(FIRST, private=False)
    by_hand(server, FIRST, {RELEASE: content, "notes.txt": b"theirs"})
    expect(publish(project), 2, "E821 acme/small-lora has release_manifest.json, which no release wrote")
    assert server.hub.files(FIRST).keys() >= {"notes.txt"}


def test_same_tag_with_other_content_is_refused_before_any_upload(
    publish: Publisher, server: HubServer, project: Path, retrained: Path, tmp_path: Path
) -> None:
    expect(publish(project), 0)
    before = {name: dict(repo.branches) | repo.tags for name, repo in server.hub.repos.items()}
    other = Path(shutil.copytree(retrained, tmp_path / "other"))
    expect(publish(other), 2, "E812", "v1.0.0", "under a new version")
    assert {name: dict(repo.branches) | repo.tags for name, repo in server.hub.repos.items()} == before
    assert server.hub.calls("POST", "/commit/") == 3


@pytest.mark.parametrize("fault", [{"apply_first": True}, {"lose_reply": True}], ids=["500 after it", "lost reply"])
def test_work_done_without_an_answer_is_not_done_twice(
    publish: Publisher, server: HubServer, project: Path, fault: dict[str, Any]
) -> None:
    for path in ("/commit/", "/tag/", "/api/repos/create"):
        server.hub.fail("POST", path, after=1, **fault)
    code, output = publish(project)
    expect((code, output), 0)
    assert output.count("attempt 2") == 3
    assert_complete(server, project)


@pytest.mark.parametrize("status", [429, 503])
def test_passing_failures_are_waited_out(publish: Publisher, server: HubServer, project: Path, status: int) -> None:
    headers = {"RateLimit": '"api";r=0;t=1'} if status == 429 else {}
    for path in ("/commit/", "/tag/", "/api/repos/create"):
        server.hub.fail("POST", path, status=status, headers=headers)
    server.hub.fail("GET", "/refs", status=status, headers=headers)
    expect(publish(project), 0, f"HTTP {status}")
    assert_complete(server, project)


@pytest.mark.parametrize("status", [403, 404])
def test_refusals_are_not_repeated(publish: Publisher, server: HubServer, project: Path, status: int) -> None:
    server.hub.fail("POST", "/commit/", status=status, times=99)
    expect(publish(project), 2, "E811", FIRST)
    assert server.hub.calls("POST", "/commit/") == 1
    assert not any(repo.tags for repo in server.hub.repos.values())


def test_broken_upload_is_repeated(publish: Publisher, server: HubServer, project: Path) -> None:
    server.hub.fail("PUT", "/_lfs/", drop_after_bytes=100)
    expect(publish(project), 0)
    assert_complete(server, project)


def test_large_files_go_up_in_parts(publish: Publisher, server: HubServer, project: Path) -> None:
    server.hub.part_size = 500
    expect(publish(project), 0)
    assert server.hub.calls("PUT", r"part=2") >= 2
    assert_complete(server, project)


def test_wrong_token_uploads_nothing(publish: Publisher, server: HubServer, project: Path) -> None:
    publish.env["HF_TOKEN"] = "hf_wrongwrongwrong"
    code, output = publish(project)
    expect((code, output), 2, "E810", "not accepted")
    assert "hf_wrong" not in output
    assert not server.hub.repos and server.hub.calls("PUT", "") == 0


def test_no_token_is_said_before_anything_else(publish: Publisher, server: HubServer, project: Path) -> None:
    del publish.env["HF_TOKEN"]
    expect(publish(project), 2, "E809", "hf auth login")
    assert server.hub.requests == []


@pytest.mark.parametrize(
    "identity",
    [Identity("mallory"), Identity("acme", repos=(FIRST, SECOND))],
    ids=["another namespace", "two repositories of three"],
)
def test_missing_rights_are_found_before_any_upload(
    publish: Publisher, server: HubServer, project: Path, identity: Identity
) -> None:
    server.hub.tokens["hf_test"] = identity
    expect(publish(project), 2, "E811")
    assert server.hub.calls("POST", "/commit/") == 0 and server.hub.calls("PUT", "") == 0


@pytest.mark.parametrize("path, after", [("/commit/", 0), ("/commit/", 1), ("/tag/", 0), ("/tag/", 1)])
def test_crash_leaves_old_or_complete_and_the_next_run_finishes(
    publish: Publisher, server: HubServer, project: Path, wanted: dict[str, set[str]], path: str, after: int
) -> None:
    running: list[subprocess.Popen[str]] = []
    server.hub.fail("POST", path, after=after, action=lambda: os.kill(running[0].pid, signal.SIGKILL))
    running.append(publish.start(project))
    running[0].communicate(timeout=180)
    assert running[0].returncode == -signal.SIGKILL
    assert_old_or_complete(server, wanted)
    expect(publish(project), 0)
    assert_complete(server, project)


def test_at_every_request_main_is_old_or_complete(
    publish: Publisher, server: HubServer, project: Path, wanted: dict[str, set[str]]
) -> None:
    looked: list[str] = []

    def look() -> None:
        assert_old_or_complete(server, wanted)
        looked.append("")

    for method in ("GET", "POST", "PUT"):
        server.hub.fail(method, "", times=10_000, action=look)
    expect(publish(project), 0)
    assert len(looked) == len(server.hub.requests) > 30


@pytest.mark.parametrize("path", ["model.safetensors", "README.md"])
def test_flipped_byte_on_the_hub_means_no_tag(publish: Publisher, server: HubServer, project: Path, path: str) -> None:
    server.hub.corrupt = re.compile(f"^{re.escape(path)}$")
    expect(publish(project), 74, "E813", path)
    assert not any(repo.tags for repo in server.hub.repos.values())
    assert not (project / "benchmarks/results/publish/receipts.json").exists()
    server.hub.corrupt = None
    expect(publish(project), 0)


def move_main(server: HubServer, repo: str) -> None:
    found = server.hub.repos[repo]
    found.add_commit("main", dict(server.hub.files(repo)) | {"x": StoredFile.small(os.urandom(4))}, "someone else")


def test_moved_main_is_read_again(publish: Publisher, server: HubServer, project: Path) -> None:
    server.hub.fail("POST", f"{FIRST}/commit/", times=2, action=lambda: move_main(server, FIRST))
    expect(publish(project), 0)
    assert server.hub.titles(FIRST) == ["someone else", "someone else", "small-task v1.0.0"]
    assert "x" in server.hub.files(FIRST)  # no release wrote it


def test_main_that_keeps_moving_is_given_up(publish: Publisher, server: HubServer, project: Path) -> None:
    server.hub.fail("POST", f"{FIRST}/commit/", times=99, action=lambda: move_main(server, FIRST))
    expect(publish(project), 74, "E814", "keeps moving")
    assert server.hub.calls("POST", f"{FIRST}/commit/") == 4


def id_token(**claims: str) -> str:
    def part(value: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return ".".join((part({"alg": "none"}), part(claims), "signature"))


def test_trusted_publishing_needs_no_stored_token(publish: Publisher, server: HubServer, project: Path) -> None:
    claims = {"repository": "acme/task", "environment": "hf-release"}
    for repo in REPOS:
        server.hub.create(repo, private=False)
        server.hub.publishers[repo] = claims
    del publish.env["HF_TOKEN"]
    publish.env["HF_OIDC_ID_TOKEN"] = id_token(**claims)
    code, output = publish(project)
    expect((code, output), 0, "a trusted publisher")
    assert "hf_jwt" not in output
    assert_complete(server, project)


def test_trusted_publishing_from_another_environment_is_refused(
    publish: Publisher, server: HubServer, project: Path
) -> None:
    for repo in REPOS:
        server.hub.create(repo, private=False)
        server.hub.publishers[repo] = {"repository": "acme/task", "environment": "hf-release"}
    del publish.env["HF_TOKEN"]
    publish.env["HF_OIDC_ID_TOKEN"] = id_token(repository="acme/task", environment="pull-requests")
    expect(publish(project), 2, "E810", "trusted publisher", FIRST)
    assert server.hub.calls("POST", "/commit/") == 0


def test_xet_storage_is_the_same_release(publish: Publisher, server: HubServer, project: Path, tmp_path: Path) -> None:
    pytest.importorskip("hf_xet")
    hub_xet.enable(server, tmp_path / "chunks")
    del publish.env["HF_HUB_DISABLE_XET"]
    expect(publish(project), 0)
    assert server.hub.calls("PUT", "/_lfs/") == 0
    assert server.hub.files(THIRD)["model.safetensors"].xet_hash
    assert_complete(server, project)
