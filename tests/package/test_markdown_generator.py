"""The generator writes a name into README as finetune/markdown.py does: else a fresh README would be called stale."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader

from finetune.evidence.readme import _code
from repository import TEMPLATE
from test_github_markdown import HOSTILE

ANSWERS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
names = st.lists(st.one_of(st.sampled_from([*HOSTILE, "<!--", "|", "`", " ", "a"]), st.text(max_size=4)), max_size=5)


@pytest.fixture(scope="module")
def generator() -> Environment:
    delimiters = {k: v for k, v in ANSWERS["_jinja2_env_vars"].items() if k != "loader"}
    return Environment(loader=FileSystemLoader(TEMPLATE / "templates"), **delimiters)


@given(names.map("".join).filter(lambda name: name.isprintable() and name.strip() == name != ""))
def test_both_write_the_same_code(generator: Environment, name: str) -> None:
    """A name as `config.task.Named` takes it: printable, no space around it."""
    assert str(generator.get_template("markdown.jinja").module.code(name)).strip() == _code(name)
