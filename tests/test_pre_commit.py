"""The generic hooks of both pre-commit configurations: each refuses what it is for, and lets an ordinary file be."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT, TEMPLATE

KEY = "-----BEGIN RSA PRIVATE " + "KEY-----"
BAD = {
    "merge-conflict": "a\n" + "<" * 7 + " HEAD\nb\n",
    "large-files": "x" * (1024 * 1024 + 1),
    "private-key": KEY + "\n",
    "end-of-file": "a\n\n\n",
    "trailing-whitespace": "a \n",
}


def hooks(root: Path) -> dict[str, dict[str, Any]]:
    (repository,) = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    return {hook["id"]: hook for hook in repository["hooks"]}


@pytest.mark.parametrize("root", [ROOT, TEMPLATE], ids=["template", "generated"])
@pytest.mark.parametrize("name", BAD)
def test_each_hook_refuses_what_it_is_for(root: Path, name: str, tmp_path: Path) -> None:
    command = [sys.executable, *shlex.split(hooks(root)[name]["entry"])[1:]]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for file, text in {"good.txt": "a\n", "bad.txt": BAD[name]}.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    done = [
        subprocess.run([*command, file], cwd=tmp_path, capture_output=True, text=True, check=False)
        for file in ("good.txt", "bad.txt")
    ]
    assert [one.returncode for one in done] == [0, 1], done


@pytest.mark.parametrize("root", [ROOT, TEMPLATE], ids=["template", "generated"])
def test_markdown_and_records_keep_their_spaces(root: Path) -> None:
    exclude = hooks(root)["trailing-whitespace"]["exclude"]
    assert all(re.search(exclude, name) for name in ("docs/a.md", "data/raw/a.jsonl"))
    assert not re.search(exclude, "finetune/a.py")
