"""Rooms of finetune/: a module imports from its left, never from its right, and no two modules import each other.

Every import counts, also inside functions and for type checkers alone: a name that is looked up is a dependency.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from repository import ROOT

GROUND = "ground"
ORDER = (
    GROUND,
    "config",
    "data",
    "importing",
    "training",
    "evaluation",
    "export",
    "use_model",
    "inference",
    "hub",
    "evidence",
    "github",
)
"""From left to right. The ground floor is finetune's own modules: one home for a rule that several rooms keep."""
BESIDE = {("export", "inference"), ("use_model", "inference"), ("hub", "evidence")}
"""Pairs that stand next to each other: neither imports the other."""
ABOVE = {("console", "config")}
"""The one thing the ground floor takes from a room: `console.run` loads the project for every script."""
DATA = {
    "tokens": {"scan", "report"},
    "scan": {"report"},
    "report": set(),
}
"""Folders inside data/, and which of them each must not know: tokens → scan → report, the core below and between."""
ATOP_OF_REPORT = {"data.stage"}
"""Of data's core only the step itself knows the report."""
GITHUB = {
    "client": {"data_pr", "train", "release", "setup"},
    "data_pr": {"train", "release", "setup"},
    "train": {"data_pr", "release", "setup"},
    "release": {"data_pr", "setup"},
    "setup": {"data_pr", "release"},
}
"""Folders inside github/, and which of them each must not know: client → train → release and setup; data_pr beside."""


def _name(path: object) -> str:
    return ".".join(path.relative_to(ROOT / "finetune").with_suffix("").parts).removesuffix("__init__").rstrip(".")  # type: ignore[attr-defined]


MODULES = {_name(path): path for path in (ROOT / "finetune").rglob("*.py")}


def imported(source: str, modules: set[str]) -> Iterator[str]:
    """Names below finetune of the modules that `source` imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("finetune.") for a in node.names if a.name.startswith("finetune."))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are written whole, so that this test and a reader can follow them"
            package = (node.module or "").split(".", 1)
            if package[0] == "finetune":
                inside = package[1] if len(package) > 1 else ""
                for alias in node.names:
                    name = f"{inside}.{alias.name}".lstrip(".")
                    yield name if name in modules else inside


EDGES = {
    name: {other for other in imported(path.read_text(encoding="utf-8"), set(MODULES)) if other}
    for name, path in MODULES.items()
    if name
}


def room(module: str) -> str:
    first = module.split(".")[0]
    return first if (ROOT / "finetune" / first).is_dir() else GROUND


def folder(module: str, of: str) -> str:
    """The folder inside a room that a module lies in, "" for the room's own modules."""
    parts = module.split(".")
    return parts[1] if parts[0] == of and len(parts) > 1 and (ROOT / "finetune" / of / parts[1]).is_dir() else ""


def arrows() -> list[tuple[str, str]]:
    return [(module, other) for module, others in sorted(EDGES.items()) for other in sorted(others)]


def test_every_room_has_its_place_and_there_is_something_to_look_at() -> None:
    assert {room(module) for module in EDGES} == set(ORDER)
    assert sum(map(len, EDGES.values())) > 500


def test_nothing_imports_from_its_right() -> None:
    wrong = []
    for module, other in arrows():
        mine, its = room(module), room(other)
        beside = tuple(sorted((mine, its), key=ORDER.index)) in BESIDE
        if mine != its and (ORDER.index(its) > ORDER.index(mine) or beside) and (module, its) not in ABOVE:
            wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_no_circle_between_modules() -> None:
    try:
        TopologicalSorter(EDGES).prepare()
    except CycleError as circle:
        pytest.fail(f"a circle of imports: {' → '.join(circle.args[1])}")


def test_arrows_inside_data() -> None:
    wrong = [f"{m} imports {o}" for m, o in arrows() if folder(o, "data") in DATA.get(folder(m, "data"), set())]
    core = {m for m, o in arrows() if room(m) == "data" and not folder(m, "data") and folder(o, "data") == "report"}
    assert wrong == [] and core == ATOP_OF_REPORT


def test_arrows_inside_github() -> None:
    wrong = [f"{m} imports {o}" for m, o in arrows() if folder(o, "github") in GITHUB.get(folder(m, "github"), set())]
    assert wrong == []
    assert {folder(module, "github") for module in EDGES if room(module) == "github"} == {*GITHUB, ""}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from finetune.hub.plan import KINDS", {"hub.plan"}),
        ("def f():\n    from finetune.hub import plan", {"hub.plan"}),
        ("if TYPE_CHECKING:\n    import finetune.hub.plan", {"hub.plan"}),
        ("from finetune import markdown, __version__", {"markdown", ""}),
        ("import json", set()),
    ],
)
def test_the_reader_of_imports_sees_them_all(source: str, found: set[str]) -> None:
    assert set(imported(source, set(MODULES))) == found
