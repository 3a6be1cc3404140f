"""Imported first by every script: finds finetune/ from anywhere, or says in one line what this Python lacks."""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
VENV = os.path.join(ROOT, ".venv")
NEEDED = ("jinja2", "msgspec", "pydantic", "rensa", "rich", "typer", "yaml")
"""The dependencies of pyproject.toml, as modules."""


def remedy():
    """The commands that help, as typed from here."""
    import shlex

    is_venv = os.path.realpath(sys.prefix) == os.path.realpath(VENV)
    ready = os.path.exists(os.path.join(VENV, "bin", "python")) and not is_venv
    words = [os.path.join(os.path.relpath(VENV), "bin", "python"), os.path.relpath(sys.argv[0]), *sys.argv[1:]]
    setup = "" if ready else f"make -C {shlex.quote(os.path.relpath(ROOT))} setup && ".replace("-C . ", "")
    return setup + " ".join(map(shlex.quote, words))


# Behind Python's own modules: a file that somebody calls scripts/json.py must not take their place.
sys.path[:] = [*(path for path in sys.path if os.path.abspath(path) != HERE), HERE]
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)
lacks = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if sys.version_info < (3, 11) or lacks:
    reason = "lacks " + ", ".join(lacks) if lacks else f"is {sys.version.split()[0]}, 3.11 or newer is needed"
    sys.stderr.write(f"E248 {sys.executable} {reason}. Fix: {remedy()}\n")
    sys.exit(2)
