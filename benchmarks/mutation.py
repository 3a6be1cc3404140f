"""Would a test notice? Mutants of one module by cosmic-ray, each tried in a process of its own:

    python -m pip install --target build/mutation cosmic-ray
    PYTHONPATH=build/mutation python benchmarks/mutation.py data/splits.py test_splits.py [test_….py …]

Every mutant is the module with one operator, number, condition or loop changed; annotations are left out, they do not
run. It is killed when a test fails or nothing ends in time. Prints the score and the lines of the survivors.
A survivor is a test that is missing, or a change that changes nothing: a person tells them apart.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
TESTS = ROOT / "tests" / "package"
PRELOADED = (
    "hypothesis",
    "jinja2",
    "msgspec",
    "numpy",
    "pydantic",
    "pytest",
    "rensa",
    "rich",
    "sklearn.metrics",
    "typer",
    "yaml",
)
LIMIT_SECONDS = 120


class Mutated:
    """Finds one module of the package as changed text, the others where they lie."""

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name == self._name else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, self._name, "exec"), module.__dict__)


def what_runs(source: str) -> str:
    """The module's tree without annotations and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg) or (isinstance(node, ast.AnnAssign) and node.value is None):
            node.annotation = None  # type: ignore[assignment]
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Name("object")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return ast.dump(tree)


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """(operator, source), each one once."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    seen = {what_runs(source)}
    for name in sorted(operator_names()):
        occurrence = 0
        while (changed := mutate_code(source, get_operator(name)(), occurrence)) is not None:
            occurrence += 1
            try:
                runs = what_runs(changed)
            except SyntaxError:
                continue
            if runs not in seen:
                seen.add(runs)
                yield name, changed


def passes(module: str, source: str, tests: list[str], folder: Path) -> bool:
    """Whether the tests pass with the module as `source`."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        import pytest

        sys.meta_path.insert(0, Mutated(module, source))
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={folder}"]
        code = 1
        try:
            code = pytest.main([*options, *tests])
        finally:
            os._exit(int(code))
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", help="below finetune/, like data/splits.py")
    parser.add_argument("tests", nargs="+", help="files of tests/package")
    options = parser.parse_args()
    file = TEMPLATE / "finetune" / options.module
    source = file.read_text(encoding="utf-8")
    module = "finetune." + options.module.removesuffix(".py").replace("/", ".")
    tests = [str(TESTS / name) for name in options.tests]
    folder = Path("/tmp") / f"mutation-{os.getpid()}"
    os.environ |= {"REPOSITORY": str(TEMPLATE), "PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir(TEMPLATE)
    sys.path.insert(0, str(TEMPLATE))
    for name in PRELOADED:
        importlib.import_module(name)
    if not passes(module, source, tests, folder):
        sys.exit("the tests fail without any change")
    survivors, count = [], 0
    for operator, changed in mutants(source):
        count += 1
        if passes(module, changed, tests, folder):
            lines = difflib.unified_diff(source.splitlines(), changed.splitlines(), lineterm="", n=0)
            survivors.append(operator)
            print(f"-- survived: {operator}", *list(lines)[2:], sep="\n", flush=True)
    print(f"{options.module}: {count} mutants, {count - len(survivors)} killed, {len(survivors)} survived", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
