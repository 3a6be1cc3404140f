"""A fork's files are read as data: what git's tree calls anything but a plain small file is refused by its name."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.errors import BadInput, FinetuneError, Problems
from finetune.github.train import candidate
from finetune.github.train.candidate import TreeEntry, blob_sha, fetch_blobs, read_tree, select
from git_repository import EXECUTABLE, LINK, REGULAR, SUBMODULE, GitRepository
from github_fake import GitHubFake

ROWS = (REGULAR, b'{"input": "a", "label": "b"}\n')
GOOD = {"data/raw/rows.jsonl": ROWS, "configs/training_config.yaml": (REGULAR, b"version: 1\n")}
TREE = "GET /repos/acme/demo/git/trees/{sha}"
BLOB = "GET /repos/acme/demo/git/blobs/{sha}"


@pytest.fixture
def fork(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "fork")


@pytest.fixture
def github(fork: GitRepository, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubFake]:
    monkeypatch.setenv("LLM_FT_BACKOFF", "0.001")
    with GitHubFake(fork.routes()) as fake:
        yield fake


def refusals(github: GitHubFake, sha: str, target: Path) -> list[tuple[str, str]]:
    """(path, code) of every problem; nothing may have been written."""
    with pytest.raises(BadInput) as failure:
        fetch_blobs(github.client(), sha, target)
    assert not target.exists()
    return [(problem.path, problem.code) for problem in failure.value.problems.errors]


def downloads(github: GitHubFake) -> list[str]:
    return [call for call in github.calls() if "/blobs/" in call]


def test_takes_data_and_configurations_and_nothing_else(fork: GitRepository, github: GitHubFake, tmp_path: Path):
    more = {
        "data/raw/b-2.jsonl": ROWS,
        "data/raw/.gitkeep": (REGULAR, b""),
        "data/raw/README.md": (REGULAR, b"notes"),
        "configs/benchmark_config.yaml": (REGULAR, b"thresholds: {}\n"),
        "configs/accelerate/ddp.yaml": ROWS,
        "configs/notes.txt": ROWS,
        "task_definition.yaml": ROWS,
        "finetune/evil.py": ROWS,
        "data/notes.jsonl": ROWS,
        ".github/workflows/train.yml": ROWS,
        "link": (LINK, b"/etc/passwd"),
        "datas/raw/x.jsonl": (LINK, b"/"),
    }
    foreign = ("हिन्दी", "データ", "re\u0301clamations", "退貨")  # composed or not, as raw_files takes them
    sha = fork.commit_entries({**GOOD, **more, **{f"data/raw/{name}.jsonl": ROWS for name in foreign}})
    target = tmp_path / "candidate"
    names = fetch_blobs(github.client(), sha, target)
    raw = sorted(["data/raw/b-2.jsonl", "data/raw/rows.jsonl", *(f"data/raw/{name}.jsonl" for name in foreign)])
    assert names == ["configs/training_config.yaml", *raw]
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()) == names
    assert (target / "data/raw/rows.jsonl").read_bytes() == ROWS[1]
    assert (target / "data/raw/rows.jsonl").stat().st_mode & 0o111 == 0


REFUSED = {
    "data/raw/passwd.jsonl": ((LINK, b"/etc/passwd"), "E616", "a symbolic link"),
    "data/raw/notes.md": ((LINK, b"../../../etc/passwd"), "E616", "a symbolic link"),
    "data/raw/.hidden": ((LINK, b"/etc/passwd"), "E616", "a symbolic link"),
    "data/raw/other.jsonl": ((SUBMODULE, b""), "E616", "a submodule"),
    "data/raw/run.jsonl": ((EXECUTABLE, ROWS[1]), "E616", "an executable"),
    "configs/training_config.yaml": ((LINK, b"/proc/self/environ"), "E616", "a symbolic link"),
    "configs/extra.yaml": ((EXECUTABLE, b"a: 1\n"), "E616", "an executable"),
    "data/raw/--help.jsonl": (ROWS, "E617", "unsafe file name"),
    "data/raw/$(id).jsonl": (ROWS, "E617", "unsafe file name"),
    "data/raw/a\nb.jsonl": (ROWS, "E617", "unsafe file name"),
    "data/raw/a b.jsonl": (ROWS, "E617", "unsafe file name"),
    "data/raw/\u202egnp.jsonl": (ROWS, "E617", "unsafe file name"),
    f"data/raw/{'a' * 120}.jsonl": (ROWS, "E617", "unsafe file name"),
    "configs/-o.yaml": (ROWS, "E617", "unsafe file name"),
    "data/raw/rows.csv": (ROWS, "E146", "not a .jsonl file"),
    "data/raw/rows.jsonl.gz": (ROWS, "E146", "not a .jsonl file"),
    "data/raw/more/rows.jsonl": (ROWS, "E143", "in a folder"),
    "data/raw/ROWS.jsonl": (ROWS, "E147", "only by case"),
}


@pytest.mark.parametrize("path", REFUSED)
def test_refuses_an_entry_by_its_name(fork: GitRepository, github: GitHubFake, tmp_path: Path, path: str):
    entry, code, words = REFUSED[path]
    sha = fork.commit_entries({**GOOD, path: entry})
    with pytest.raises(BadInput) as failure:
        fetch_blobs(github.client(), sha, tmp_path / "candidate")
    [problem] = failure.value.problems.errors
    assert (problem.code, words in problem.message, bool(problem.fix)) == (code, True, True)
    assert problem.path.isascii() and problem.path.isprintable()
    assert problem.path[:60] in (path[:60], "data/raw/a\\nb.jsonl", "data/raw/\\u202egnp.jsonl", "data/raw/rows.jsonl")
    assert downloads(github) == []
    assert not (tmp_path / "candidate").exists()


def test_names_everything_that_is_refused_at_once(fork: GitRepository, github: GitHubFake, tmp_path: Path):
    sha = fork.commit_entries({**GOOD, **{path: entry for path, (entry, *_) in REFUSED.items()}})
    assert len(refusals(github, sha, tmp_path / "candidate")) == len(REFUSED)


@pytest.mark.parametrize("path", ["data", "data/raw", "configs"])
@pytest.mark.parametrize("mode", [LINK, SUBMODULE, REGULAR])
def test_refuses_a_folder_that_is_something_else(
    fork: GitRepository, github: GitHubFake, tmp_path: Path, path: str, mode: str
):
    kept = {name: entry for name, entry in GOOD.items() if not name.startswith(f"{path}/")}
    sha = fork.commit_entries({**kept, path: (mode, b"/etc")})
    assert (path, "E616") in refusals(github, sha, tmp_path / "candidate")


@pytest.mark.parametrize("path", ["data/raw/../../../x.jsonl", "data/raw//x.jsonl", "data/raw/../x"])
def test_refuses_paths_that_git_itself_would_not_store(
    fork: GitRepository, github: GitHubFake, tmp_path: Path, path: str
):
    sha = fork.commit_entries(GOOD)
    rows = fork.rows(sha)
    rows.append({**next(row for row in rows if row["type"] == "blob"), "path": path})
    github.routes[TREE] = {"sha": sha, "tree": rows, "truncated": False}
    assert refusals(github, sha, tmp_path / "candidate") == [(path, "E143")]


def test_an_lfs_pointer_is_not_the_data(fork: GitRepository, github: GitHubFake, tmp_path: Path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    sha = fork.commit_entries({**GOOD, "data/raw/large.jsonl": (REGULAR, pointer)})
    assert refusals(github, sha, tmp_path / "candidate") == [("data/raw/large.jsonl", "E619")]


@pytest.mark.parametrize(
    ("path", "size"),
    [("data/raw/rows.jsonl", 10 * 2**30), ("data/raw/rows.jsonl", candidate.MAX_DATA_BYTES + 1),
     ("configs/training_config.yaml", 256 * 1024 + 1)],
)  # fmt: skip
def test_a_size_beyond_the_limit_is_refused_before_any_download(
    fork: GitRepository, github: GitHubFake, tmp_path: Path, path: str, size: int
):
    sha = fork.commit_entries(GOOD)
    rows = [{**row, "size": size} if row["path"] == path else row for row in fork.rows(sha)]
    github.routes[TREE] = {"sha": sha, "tree": rows, "truncated": False}
    assert (path, "E618") in refusals(github, sha, tmp_path / "candidate")
    assert downloads(github) == []


def test_too_many_files_and_too_many_bytes_in_all(fork: GitRepository, github: GitHubFake, tmp_path: Path):
    many = {f"data/raw/{number}.jsonl": ROWS for number in range(candidate.MAX_FILES + 1)}
    assert refusals(github, fork.commit_entries(many), tmp_path / "candidate") == [("data/raw", "E618")]
    sha = fork.commit_entries({f"data/raw/{number}.jsonl": ROWS for number in range(5)})
    rows = [{**row, "size": candidate.MAX_TOTAL_BYTES // 5 + 1} for row in fork.rows(sha)]
    github.routes[TREE] = {"sha": sha, "tree": rows, "truncated": False}
    assert refusals(github, sha, tmp_path / "candidate") == [("data/raw", "E618")]
    assert downloads(github) == []


def _broken(**change: Any) -> dict[str, Any]:
    row = {"path": "data/raw/rows.jsonl", "mode": REGULAR, "type": "blob", "sha": "0" * 40, "size": 3}
    return {"tree": [{**row, **change}], "truncated": False}


@pytest.mark.parametrize(
    "answer",
    [
        {"tree": [], "truncated": True},
        {"tree": []},
        {"tree": [], "truncated": "false"},
        {"truncated": False},
        [],
        None,
        {"tree": {}, "truncated": False},
        {"tree": ["x"], "truncated": False},
        _broken(path=None),
        _broken(mode=1),
        _broken(sha="../../pulls/1"),
        _broken(sha="0" * 39),
        _broken(size=-1),
        _broken(size="3"),
        _broken(size=True),
    ],
)
def test_a_cut_or_malformed_tree_is_refused(github: GitHubFake, tmp_path: Path, answer: Any):
    github.routes[TREE] = lambda request, sha: answer
    with pytest.raises(FinetuneError) as failure:
        fetch_blobs(github.client(), "a" * 40, tmp_path / "candidate")
    cut = isinstance(answer, dict) and answer.get("truncated") is True
    assert failure.value.code == ("E618" if cut else "E615")
    assert downloads(github) == []


@pytest.mark.parametrize(
    "content",
    [b'{"input": "a", "label": "c"}\n', b"", ROWS[1] + b"x", None, "%%%", 7],
    ids=["changed byte", "empty", "longer", "no content", "no base64", "number"],
)
def test_bytes_other_than_the_tree_names_are_refused(
    fork: GitRepository, github: GitHubFake, tmp_path: Path, content: Any
):
    sha = fork.commit_entries({"data/raw/rows.jsonl": ROWS})
    text = base64.b64encode(content).decode() if isinstance(content, bytes) else content
    github.routes[BLOB] = {"encoding": "base64", "content": text}
    assert refusals(github, sha, tmp_path / "candidate") == [("data/raw/rows.jsonl", "E620")]


def test_what_lay_there_before_goes_on_success_and_stays_on_failure(
    fork: GitRepository, github: GitHubFake, tmp_path: Path
):
    target = tmp_path / "candidate"
    (target / "data" / "raw").mkdir(parents=True)
    old = target / "data" / "raw" / "old.jsonl"
    old.write_bytes(b"old")
    sha = fork.commit_entries({"data/raw/rows.jsonl": ROWS})
    github.fail("GET", "/blobs/", 404)
    with pytest.raises(FinetuneError):
        fetch_blobs(github.client(), sha, target)
    assert old.read_bytes() == b"old"
    assert fetch_blobs(github.client(), sha, target) == ["data/raw/rows.jsonl"]
    assert [path.name for path in target.rglob("*") if path.is_file()] == ["rows.jsonl"]


def test_a_passing_failure_of_github_is_waited_out(fork: GitRepository, github: GitHubFake, tmp_path: Path):
    sha = fork.commit_entries(GOOD)
    github.fail("GET", "/trees/", 502)
    github.fail("GET", "/blobs/", 503, drop="body")
    assert len(fetch_blobs(github.client(), sha, tmp_path / "candidate")) == 2


def test_reads_the_tree_of_a_real_commit(fork: GitRepository, github: GitHubFake):
    sha = fork.commit_entries({**GOOD, "sub": (SUBMODULE, b"")})
    entries = {entry.path: entry for entry in read_tree(github.client(), sha)}
    assert entries["data/raw/rows.jsonl"] == TreeEntry("data/raw/rows.jsonl", REGULAR, "blob", blob_sha(ROWS[1]), 29)
    assert (entries["sub"].mode, entries["sub"].type, entries["data"].type) == (SUBMODULE, "commit", "tree")


_piece = st.sampled_from(
    ["data", "raw", "configs", "..", ".", "", "a.jsonl", "b.yaml", "-x.jsonl", "a\n.jsonl", "é.yaml"]
)
_path = st.one_of(st.lists(_piece, min_size=1, max_size=5).map("/".join), st.text(max_size=30)).flatmap(
    lambda tail: st.sampled_from([tail, f"data/raw/{tail}", f"configs/{tail}"])
)
_entry = st.builds(
    TreeEntry,
    _path,
    st.sampled_from([REGULAR, EXECUTABLE, LINK, SUBMODULE, "040000"]),
    st.sampled_from(["blob", "tree", "commit"]),
    st.just("0" * 40),
    st.integers(0, 100),
)


@given(st.lists(_entry, max_size=8))
def test_whatever_a_tree_holds_only_plain_names_in_the_two_folders_are_taken(tree: list[TreeEntry]):
    taken = select(tree, Problems())
    for entry in taken:
        folder, _, name = entry.path.rpartition("/")
        assert (folder, Path(name).suffix) in (("data/raw", ".jsonl"), ("configs", ".yaml"))
        assert (entry.mode, entry.type) == (REGULAR, "blob")
        assert name.isascii() and name[0].isalnum() and name != "benchmark_config.yaml"
    assert len({entry.path.casefold() for entry in taken}) == len(taken)
