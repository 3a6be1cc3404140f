"""Whether the machinery is as shipped: what differs is named, whatever a checkout made of it; nothing fails a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from finetune.errors import FinetuneError
from finetune.evaluation.report_parts import Machinery
from finetune.github.train.checkout import is_input
from finetune.inventory import is_step_code
from finetune.machinery import LISTED, SEAL, compare, read_seal, recorded, sealable, text_digest
from repository import ROOT

SHIPPED = {
    "Makefile": "all:\n\ttrue\n",
    ".gitignore": "/models/\n",
    ".github/workflows/ci.yml": "name: ci\n",
    "finetune/a.py": "A = 1\n",
    "finetune/data/b.py": "B = 2\n",
    "finetune/words.yaml": "a: 甲\n",
    "scripts/01.py": "import a\n",
}


def told(facts: dict[str, Any]) -> str:
    return str(Machinery.model_validate(facts))


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A small repository with a seal of its own, beside files that are not sealed."""
    root = tmp_path / "my-task"
    own = {"task_definition.yaml": "x\n", "finetune/__pycache__/a.pyc": "x", "tests/test_task.py": "x\n"}
    for name, text in {**SHIPPED, **own}.items():
        write(root, name, text)
    seal(root)
    return root


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode("utf-8"))


def seal(root: Path, **values: Any) -> None:
    files = {name: text_digest(path) for name, path in sealable(root).items()}
    write(root, SEAL, json.dumps({"version": "1.2.3", "files": files, **values}, indent=2))


def command(root: Path, **values: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "github.py"), "as-shipped"],
        cwd=root,
        capture_output=True,
        text=True,
        env={**kept, "PYTHONPATH": str(ROOT), **values},
        check=False,
    )


def test_what_is_sealed_is_the_machinery_and_nothing_else(shipped: Path) -> None:
    assert list(read_seal(shipped).files) == sorted(SHIPPED)
    found = compare(shipped)
    assert (found.differences, found.compared, found.seal.version) == ([], len(SHIPPED), "1.2.3")


def test_line_endings_of_a_checkout_are_no_difference(shipped: Path) -> None:
    digest = read_seal(shipped).digest
    for name in (*SHIPPED, SEAL):
        write(shipped, name, (shipped / name).read_text(encoding="utf-8").replace("\n", "\r\n"))
    assert compare(shipped).differences == [] and read_seal(shipped).digest == digest


def test_everything_that_differs_is_named(shipped: Path) -> None:
    write(shipped, "finetune/a.py", "A = 2\n")
    (shipped / "scripts" / "01.py").unlink()
    for name in ("finetune/data/json.py", "finetune/b.so", "scripts/名.py", "finetune/notes.txt", ".github/more.yml"):
        write(shipped, name, "")
    found = compare(shipped)
    assert found.differences == [
        "changed finetune/a.py",
        "missing scripts/01.py",
        "added finetune/b.so",
        "added finetune/data/json.py",
        "added scripts/\\u540d.py",
    ]
    assert compare(shipped, partial=True).missing == ()


@pytest.mark.parametrize("partial", [True, False])
def test_a_link_is_a_change_and_never_followed(shipped: Path, tmp_path: Path, partial: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    (shipped / "finetune" / "data").rename(elsewhere)
    (shipped / "finetune" / "data").symlink_to(elsewhere)
    (shipped / "finetune" / "a.py").unlink()
    (shipped / "finetune" / "a.py").symlink_to("/dev/zero")
    found = compare(shipped, partial=partial)
    assert found.differences == ["changed finetune/a.py", "changed finetune/data/b.py"]


DAMAGED = {
    "missing": (None, "is missing"),
    "a merge": ("<<<<<<< HEAD\n{}\n", "is no JSON"),
    "deep": ("[" * 100_000, "is no JSON"),
    "no UTF-8": (b"\xff\xff", "is no JSON"),
    "a list": ("[]", "names no version"),
    "no version": ({"version": 1}, "names no version"),
    "a sentence": ({"version": "1; rm -rf ."}, "names no version"),
    "no files": ({"files": {}}, "one sha256 a file"),
    "no digest": ({"files": {"Makefile": "x"}}, "one sha256 a file"),
    "a name": ({"files": {"a\0b": "0" * 64}}, "one sha256 a file"),
    "large": (" " * 1_000_001, "is too large"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_seal_that_cannot_be_read_is_said_and_fails_nothing(shipped: Path, tmp_path: Path, kind: str) -> None:
    content, says = DAMAGED[kind]
    if content is None:
        (shipped / SEAL).unlink()
    elif isinstance(content, dict):
        seal(shipped, **content)
    else:
        (shipped / SEAL).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FinetuneError, match=rf"W990 finetune/SEALED\.json .*{says}"):
        compare(shipped)
    done = command(shipped, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert done.returncode == 0 and "W990" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("### Machinery: not known\n")


def test_the_step_says_as_shipped_by_whose_seal(shipped: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    done = command(shipped, GITHUB_STEP_SUMMARY=str(summary))
    digest = read_seal(shipped).digest[:12]
    line = f"as shipped in v1.2.3: {len(SHIPPED)} files, by the commit's own seal {digest}"
    assert (done.returncode, done.stderr) == (0, line + "\n")
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("### Machinery: as shipped in v1.2.3\n") and line in text


def test_the_step_names_what_differs_and_how_to_test_it(shipped: Path, tmp_path: Path) -> None:
    write(shipped, "finetune/a.py", "A = 2\n")
    write(shipped, "finetune/``` # x.py", "")
    summary = tmp_path / "summary.md"
    done = command(shipped, GITHUB_STEP_SUMMARY=str(summary), FINETUNE_LANG="en")
    assert done.returncode == 0
    changed, added, told = done.stderr.splitlines()
    assert (changed, added) == ("  changed finetune/a.py", "  added finetune/``` # x.py")
    assert told.startswith("W991 the machinery is not as shipped in v1.2.3: 1 changed, 1 added (of 7 sealed files).")
    assert told.endswith("a checkout of the template at v1.2.3 tests it by: make test REPOSITORY=../my-task")
    text = summary.read_text(encoding="utf-8")
    assert "### Machinery: not as shipped in v1.2.3\n\n````text\n" in text and text.endswith("\n````\n")


@pytest.mark.parametrize("name", ["json", "re", "shlex", "typing", "dataclasses", "rich", "github"])
def test_a_file_with_the_name_of_a_module_is_named_and_takes_no_place(shipped: Path, name: str) -> None:
    """Python looks for modules in a script's own folder before its own."""
    for script in ("_start.py", "github.py"):
        write(shipped, f"scripts/{script}", (ROOT / "scripts" / script).read_text(encoding="utf-8"))
    seal(shipped)
    added = f"scripts/{name}.py" if name != "github" else "scripts/github/__init__.py"
    write(shipped, added, "raise RuntimeError('taken')\n")
    command = [sys.executable, "scripts/github.py", "as-shipped"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=shipped, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"  added {added}")


def test_many_differences_are_counted(shipped: Path) -> None:
    for number in range(60):
        write(shipped, f"finetune/n{number:02}.py", "")
    done = command(shipped)
    assert done.stderr.count("  added ") == 50 and "  … and 10 more" in done.stderr and "60 added" in done.stderr


def test_a_report_tells_the_same(shipped: Path) -> None:
    facts = recorded(shipped)
    assert Machinery.model_validate(facts) and facts["as_shipped"]
    digest = read_seal(shipped).digest
    assert told(facts) == f"code as shipped in v1.2.3 (7 files, by the commit's own seal {digest[:12]})"
    (shipped / "scripts" / "01.py").unlink()  # as on a training runner
    assert recorded(shipped)["as_shipped"] and recorded(shipped)["compared"] == 6
    for number in range(LISTED + 3):
        write(shipped, f"finetune/n{number:02}.py", "")
    facts = recorded(shipped)
    assert Machinery.model_validate(facts) and not facts["as_shipped"] and facts["differing"] == LISTED + 3
    assert told(facts).startswith("code not as shipped in v1.2.3: added finetune/n00.py, ")
    assert told(facts).endswith(" and 3 more")
    (shipped / SEAL).unlink()
    facts = recorded(shipped)
    assert Machinery.model_validate(facts) and told(facts) == f"code without a readable {SEAL}"


@pytest.mark.parametrize(
    "wrong",
    [{"as_shipped": True, "differing": 1}, {"version": None}, {"differs": ["a", "b"], "differing": 1},
     {"seal": "x"}, {"differs": ["a"] * (LISTED + 1), "differing": 99, "as_shipped": False}],
)  # fmt: skip
def test_a_sentence_that_contradicts_its_numbers_is_no_report(wrong: dict[str, Any]) -> None:
    facts = {"version": "1", "seal": "0" * 64, "compared": 1, "as_shipped": True, "differing": 0, "differs": []}
    assert Machinery.model_validate(facts)
    with pytest.raises(ValidationError):
        Machinery.model_validate({**facts, **wrong})


def test_the_seal_goes_along_with_a_training_run_and_changes_no_fingerprint() -> None:
    assert is_input(SEAL) and not is_step_code(SEAL)
