"""Where the token goes, where a redirect may lead, and how much is read."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from finetune.errors import FinetuneError
from finetune.github.client.api import ApiError, GitHub
from github_fake import TOKEN, Answer, GitHubFake

PULL = "/repos/{repo}/pulls/7"


def test_a_download_follows_to_storage_without_the_token(github: GitHubFake) -> None:
    with GitHubFake({"GET /blob": b"PK zip"}, token=None) as storage:
        github.routes["GET /repos/acme/demo/actions/artifacts/5/zip"] = Answer(
            302, None, {"Location": f"{storage.url}/blob?signature=s3cret"}
        )
        assert github.client().download("/repos/{repo}/actions/artifacts/5/zip") == b"PK zip"
        assert [request.token for request in storage.requests] == [None]
        assert "authorization" not in storage.requests[0].headers


def test_storage_cannot_send_the_token_back_to_a_path_of_its_choice(github: GitHubFake) -> None:
    with GitHubFake({}, token=None) as storage:
        github.routes["GET /repos/acme/demo/x"] = Answer(302, None, {"Location": f"{storage.url}/blob"})
        github.routes["GET /user/keys"] = {"secret": 1}
        storage.routes["GET /blob"] = Answer(302, None, {"Location": f"{github.url}/user/keys"})
        with pytest.raises(ApiError, match="401"):
            github.client().get("/repos/{repo}/x")
        assert github.requests[-1].path == "/user/keys" and github.requests[-1].token is None


def test_a_renamed_repository_keeps_its_token_on_the_same_host(github: GitHubFake) -> None:
    github.routes["GET /repos/acme/demo/x"] = Answer(301, None, {"Location": "/repositories/1/x"})
    github.routes["GET /repositories/1/x"] = {"ok": True}
    assert github.client().get("/repos/{repo}/x") == {"ok": True}


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[broken", "data:,x", "//evil:99999/"]
)
def test_redirects_to_anything_but_the_web_are_refused(github: GitHubFake, waits: list[float], target: str) -> None:
    github.routes["GET /repos/acme/demo/x"] = Answer(302, None, {"Location": target})
    with pytest.raises(ApiError, match=r"redirect|impossible"):
        github.client().download("/repos/{repo}/x")
    assert len(github.requests) == 1 and not waits


def test_endless_redirects_end(github: GitHubFake, waits: list[float]) -> None:
    github.routes["GET /repos/acme/demo/x"] = Answer(302, None, {"Location": "/repos/acme/demo/x"})
    with pytest.raises(ApiError, match="more than 5 redirects"):
        github.client().get("/repos/{repo}/x")
    assert len(github.requests) == 6


@pytest.mark.parametrize("verb", ["post", "patch", "put", "delete"])
def test_a_change_is_never_redirected_to_another_host(github: GitHubFake, verb: str) -> None:
    with GitHubFake({}, token=None) as other:
        github.routes[f"{verb.upper()} /repos/acme/demo/x"] = Answer(307, None, {"Location": f"{other.url}/x"})
        with pytest.raises(ApiError, match="another host"):
            getattr(github.client(), verb)("/repos/{repo}/x")
        assert not other.requests


def test_the_token_is_in_no_message(github: GitHubFake, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even when a server answers with it, or a header refuses it."""
    client = github.client()
    said = [repr(client), str(client)]
    github.fail("GET", "pulls", 502, times=2, body={"message": f"bad token {TOKEN}"})
    for before in ("bad token ", "x" * 190):  # the second is cut in the middle of it
        github.fail("GET", "pulls", 422, body={"message": f"{before}{TOKEN}"})
        with pytest.raises(ApiError) as caught:
            client.get(PULL)
        said += [str(caught.value), repr(caught.value), capsys.readouterr().err]
    for broken in (f"{TOKEN}\r\nX-Evil: 1", f"{TOKEN}\u2028", f" {TOKEN}", ""):
        with pytest.raises(FinetuneError, match="E602") as refused:
            GitHub(broken, "acme/demo", github.url)
        said.append(str(refused.value))
    assert TOKEN[:8] not in "".join(said)
    assert "bad token ***" in "".join(said)


# --- caps, paths, uploads -------------------------------------------------------------------------------------------


def test_a_download_is_capped(github: GitHubFake, waits: list[float]) -> None:
    github.routes["GET /repos/acme/demo/x"] = b"x" * 100_000
    assert len(github.client().download("/repos/{repo}/x", limit=100_000)) == 100_000
    with pytest.raises(ApiError, match="above 99,999 bytes"):
        github.client().download("/repos/{repo}/x", limit=99_999)
    assert not waits


def test_half_a_download_is_tried_again(github: GitHubFake, waits: list[float]) -> None:
    github.routes["GET /repos/acme/demo/x"] = b"x" * 300_000
    github.fail("GET", "/x", drop="body")
    github.fail("GET", "/x", drop="reset", body=b"y" * 300_000)
    assert github.client().download("/repos/{repo}/x") == b"x" * 300_000
    assert len(waits) == 2


def test_an_asset_is_asked_for_as_bytes(github: GitHubFake) -> None:
    github.routes["GET /repos/acme/demo/releases/assets/9"] = b"sums"
    assert github.client().download("/repos/{repo}/releases/assets/9") == b"sums"
    assert github.requests[0].headers["accept"] == "application/octet-stream"


@pytest.mark.parametrize(
    "path", ["x", "/a/../b", "/a/./b", "//evil/x", "/a?x=1", "/a#b", "/a\\b", "https://evil.example/x", "/a/"]
)
def test_a_path_cannot_leave_its_endpoint(github: GitHubFake, path: str) -> None:
    with pytest.raises(FinetuneError, match="E606"):
        github.client().get(path)
    assert not github.requests


def test_a_hostile_path_stays_one_line_of_the_request(github: GitHubFake) -> None:
    with pytest.raises(ApiError, match="404"):
        github.client().get("/repos/{repo}/git/ref/heads/a b\r\nX-Evil: 1 é\u202e")
    assert github.requests[0].path.endswith("heads/a b\r\nX-Evil: 1 é\u202e")
    assert "x-evil" not in github.requests[0].headers


def test_upload_streams_the_file(github: GitHubFake, tmp_path: Path) -> None:
    file = tmp_path / "sums"
    file.write_bytes(bytes(range(256)) * 4096)
    github.routes["POST /repos/acme/demo/releases/1/assets"] = lambda request: {"name": request.query["name"]}
    address = f"{github.url}/repos/acme/demo/releases/1/assets{{?name,label}}"
    github.fail("POST", "assets", 429, headers={"Retry-After": "0"})
    assert github.client().upload(address, file, "a b.txt") == {"name": "a b.txt"}
    assert [request.body for request in github.requests] == [file.read_bytes()] * 2
    assert github.requests[-1].headers["content-length"] == str(256 * 4096)


@pytest.mark.parametrize(
    "address",
    ["https://uploads.github.com.evil.example/x", "https://evil.example/x{?name}", "http://uploads.github.com/x"],
)
def test_upload_goes_to_githubs_own_hosts_only(address: str, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="another host"):
        GitHub(TOKEN, "acme/demo").upload(address, tmp_path / "never read", "x")


def test_githubs_upload_host_is_accepted(github: GitHubFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name is this machine's; the rule knows hosts by their names."""
    resolved, port = socket.getaddrinfo, github.url.rpartition(":")[2]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolved("127.0.0.1", *rest, **more))
    github.routes["POST /repos/a/b/releases/1/assets"] = {"id": 1}
    (file := tmp_path / "file").write_bytes(b"weights")
    client = GitHub(TOKEN, "acme/demo", f"http://api.github.com:{port}")
    client.upload(f"http://uploads.github.com:{port}/repos/a/b/releases/1/assets{{?name}}", file, "x")
    (request,) = github.requests
    assert (request.path, request.headers["host"]) == ("/repos/a/b/releases/1/assets", f"uploads.github.com:{port}")
    assert (request.query, request.token, request.body) == ({"name": "x"}, TOKEN, b"weights")
