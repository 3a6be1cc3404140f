"""One rule of versions: what one place takes as a version, every other one does, pre-releases too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from finetune.evidence.values import version_key
from finetune.github.client.actions import set_output
from finetune.github.release.tags import read_tag
from finetune.versions import VERSION, parse_tag, parse_version
from repository import ROOT

ASCENDING = [
    "0.0.0",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0-x-y",
    "1.0.0",
    "1.9.0",
    "1.10.0",
]
"""By the precedence of semver.org, section 11."""
NONE = [
    "",
    "1",
    "1.2",
    "1.2.3.4",
    "01.2.3",
    "1.2.3-",
    "1.2.3-01",
    "1.2.3-a..b",
    "1.2.3+build",
    "1.2.3 ",
    "1.2.3\n",
    "١.٢.٣",
    "1.2.3-é",
    "1.2.3/x",
    "v1.2.3",
    "1.2.3rc1",
    "1000000.0.0",
]


@pytest.mark.parametrize("text", ASCENDING)
def test_a_version_is_one_everywhere(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "out"))
    version = parse_version(text)
    assert version and version.tag == f"v{text}" and version.prerelease == ("-" in text)
    assert parse_tag(f"v{text}") == version and parse_tag(text) is None
    tag = read_tag(f"refs/tags/v{text}")
    assert tag and (tag.version, tag.prerelease, tag.order) == (text, version.prerelease, version.order)
    set_output("tag", f"v{text}")
    assert (tmp_path / "out").read_text(encoding="utf-8") == f"tag=v{text}\n"


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_version_is_none_anywhere(text: str) -> None:
    assert parse_version(text) is None and parse_tag(f"v{text}") is None and read_tag(f"refs/tags/v{text}") is None


def test_versions_sort_by_precedence_as_tags_and_as_iterations() -> None:
    versions = [parse_version(text) for text in ASCENDING]
    assert sorted(reversed(versions), key=lambda version: version.order) == versions
    names = ["notes", *(f"v{text}" for text in ASCENDING)]
    assert sorted(reversed(names), key=version_key) == names


def test_no_module_has_a_rule_of_its_own() -> None:
    """Three numbers with dots between, as a regular expression, stand in versions.py alone."""
    own = re.compile(r"(?:\\d|\[0-9\])[^\s\"']{0,12}\\\.(?:\(|\?:|0\||\[1-9\]|\\d|\[0-9\])[^\s\"']{0,20}\\\.")
    assert own.search(r"v[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}") and own.search(r"\d+\.\d+\.\d+")
    files = [file for file in (ROOT / "finetune").rglob("*.py") if own.search(file.read_text(encoding="utf-8"))]
    assert [file.name for file in files] == [] and re.fullmatch(VERSION, "1.2.3-rc.1")
