"""The registry of message codes: all that is raised is there, all that is there is raised, and nothing twice."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from finetune import codes, errors
from repository import ROOT

TEMPLATE = Path(__file__).parents[2]
SOURCES = [
    *(path for top in ("finetune", "scripts", ".github") for path in sorted((ROOT / top).rglob("*.py"))),
    *sorted((TEMPLATE / "hooks").glob("*.py")),
    TEMPLATE / "init_project.py",
]
"""Everything that says something: the repository, and what makes one."""
PROSE = [
    *sorted((ROOT / "docs").glob("*.md")),
    *ROOT.glob("*.md"),
    *sorted((ROOT / ".github").rglob("*.yml")),
    *sorted((ROOT / "finetune").rglob("*.j2")),
    ROOT / "Makefile",
    *sorted((TEMPLATE / "templates").rglob("*.md")),
    *sorted((TEMPLATE / "docs").rglob("*.md")),
]
CODE = re.compile(r"\b[EW][0-9]{3}\b")
MEANINGS = [meaning for section in codes.read_registry() for meaning in section.meanings]
KNOWN = {meaning.code for meaning in MEANINGS}


class Source:
    """The strings of one module, and what stands around them."""

    def __init__(self, tree: ast.AST) -> None:
        self.tree = tree
        self.parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def strings(self) -> Iterator[ast.Constant]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node

    def raised(self) -> Iterator[str]:
        """A string that is a code or begins with one, unless it is a docstring or only compared with."""
        for node in self.strings():
            begins = re.match(r"[EW][0-9]{3}(?= |$)", str(node.value))
            if begins and not isinstance(self.parents[node], ast.Expr | ast.Set | ast.Compare):
                yield begins[0]

    def pieced_together(self) -> Iterator[int]:
        """Lines of strings to which digits of a code may be added: nobody could search for such a code."""
        opens, format = re.compile(r"(?:^|\s)[EW][0-9]{0,2}$"), re.compile(r"(?:^|\s)[EW][0-9]{0,2}%")
        for node in self.strings():
            parent = self.parents[node]
            if isinstance(parent, ast.JoinedStr):
                follows = parent.values[parent.values.index(node) + 1 :]
                added = bool(follows) and isinstance(follows[0], ast.FormattedValue)
            else:
                added = isinstance(parent, ast.BinOp)
            if added and (opens.search(str(node.value)) or format.search(str(node.value))):
                yield node.lineno


@cache
def sources() -> dict[str, Source]:
    return {path.as_posix(): Source(ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES}


def test_no_code_is_raised_that_has_no_entry_and_no_entry_is_left_over() -> None:
    raised = {code for source in sources().values() for code in source.raised()}
    assert len(raised) > 250
    assert (sorted(raised - KNOWN), sorted(KNOWN - raised)) == ([], [])


def test_every_code_that_is_only_mentioned_has_its_entry() -> None:
    said = {code for source in sources().values() for node in source.strings() for code in CODE.findall(node.value)}
    said |= {code for path in PROSE for code in CODE.findall(path.read_text(encoding="utf-8"))}
    assert said - KNOWN == set()


def test_no_code_is_pieced_together() -> None:
    assert [(name, line) for name, source in sources().items() for line in source.pieced_together()] == []
    for text in ('f"E{number}"', '"E9" + digits', 'f"x: E97{n} y"', '"W%d" % number'):
        assert list(Source(ast.parse(text)).pieced_together()) == [1], text


def faults() -> set[str]:
    """Names of the exceptions that have no code of their own: those whose __init__ is FinetuneError's."""
    classes = [
        node for source in sources().values() for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)
    ]
    found = {"FinetuneError"}
    while True:
        more = {
            node.name
            for node in classes
            if found & {base.id for base in node.bases if isinstance(base, ast.Name)}
            and not any(isinstance(part, ast.FunctionDef) and part.name == "__init__" for part in node.body)
        }
        if more <= found:
            return found
        found |= more


def test_every_failure_is_raised_with_its_code() -> None:
    names, without = faults(), []
    assert {"FinetuneError", "ModelFault", "StorageFault", "Interrupted", "GateFailed"} <= names
    for place, source in sources().items():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in names:
                given = len(node.args) >= 3 or any(isinstance(one, ast.Starred) for one in node.args)
                if not given and not any(keyword.arg in ("code", None) for keyword in node.keywords):
                    without.append((place, node.lineno))
    assert without == []


def test_no_code_has_two_entries() -> None:
    assert [code for code, times in Counter(meaning.code for meaning in MEANINGS).items() if times > 1] == []
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads("[a.E101]\n[a.E101]\n")


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.code)
def test_cause_and_remedy_are_one_short_line_each(meaning: codes.Meaning) -> None:
    assert CODE.fullmatch(meaning.code)
    for sentence in (meaning.cause, meaning.remedy):
        assert sentence.isprintable() and 5 <= len(sentence) <= 120 and sentence.endswith(".")
        assert sentence[0].isupper() or sentence.startswith(
            ("`", "llama.cpp", "llama-cpp", "git ", "pip ", "cookiecutter")
        )
        assert sentence.count("`") % 2 == 0


def test_the_page_is_current_and_every_code_has_one_address() -> None:
    written = codes.PAGE.read_text(encoding="utf-8") if codes.PAGE.is_file() else ""
    assert written == codes.page(), "run: python -m finetune.codes"
    assert Counter(re.findall(r'<a id="([EW][0-9]{3})"></a>', written)) == Counter(KNOWN)
    rows = [line for line in written.splitlines() if line.startswith("| <a id=")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_the_page_names_every_exit_code() -> None:
    values = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert values == {int(code) for code in re.findall(r"^\| ([0-9]+) \|", codes.page(), flags=re.MULTILINE)}
