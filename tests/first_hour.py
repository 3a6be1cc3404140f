"""README's commands as a newcomer types them, in order, on a machine with only Python, git, make and a compiler.

    python tests/first_hour.py [--keep FOLDER] [--section "Try it" --section "Your own task"]

Every line of the fenced `bash` blocks is run as it stands, in an empty folder with an empty home. Only the address of
the template leads to this checkout instead of GitHub (git's `url.….insteadOf`), so what is cloned is the last commit.
A command that asks gets Enter for every question. Prints minutes and gigabytes a command; ends at the first failure,
and the same --keep FOLDER goes on there with the command that failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "https://github.com/org/llm-ft-template"
SECTIONS = ("Try it", "Your own task")
KEPT = re.compile(r"PIP_|UV_|SSL_|LANG$|LC_|TMPDIR$|(HTTPS?|NO)_PROXY$|OPENBLAS_|https?_proxy$|no_proxy$", re.ASCII)
"""What a machine needs to reach its package index, and its language; nothing else of the caller's environment."""

REMEMBER = "import json, os, sys; json.dump([os.getcwd(), dict(os.environ)], open(sys.argv[1], 'w'))"


def commands(page: str, sections: tuple[str, ...] = SECTIONS) -> list[str]:
    """The command lines of the `bash` blocks below these headings, joined where continued; ValueError without any."""
    found: list[str] = []
    for title in sections:
        part = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        blocks = re.findall(r"^```bash\n(.*?)^```", part[1], re.MULTILINE | re.DOTALL) if part else []
        if not blocks:
            raise ValueError(f"README.md has no bash block below {title!r}")
        lines = "".join(blocks).replace("\\\n", " ").splitlines()
        found += [line for line in lines if shlex.split(line, comments=True)]
    return found


def environment(home: Path) -> dict[str, str]:
    """An empty home, the system's programs, and git that finds the template here."""
    kept = {name: value for name, value in os.environ.items() if KEPT.match(name)}
    leads = (f"url.{ROOT}.insteadOf", f"url.{ROOT}.insteadOf", "safe.directory", "user.name", "user.email")
    ends = (f"{ADDRESS}.git", ADDRESS, "*", "First Hour", "first-hour@example.org")
    git = {"GIT_CONFIG_COUNT": str(len(leads)), "GIT_CONFIG_GLOBAL": "/dev/null"}
    for number, (name, value) in enumerate(zip(leads, ends, strict=True)):
        git |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    path = os.pathsep.join([str(home / ".local" / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])
    return {**kept, **git, "HOME": str(home), "PATH": path, "TERM": "dumb", "COLUMNS": "120"}


def run_all(lines: list[str], folder: Path) -> Iterator[tuple[str, float, float]]:
    """Run them in one shell; (command, seconds, GB that lie on the disk afterwards) of each, as it ends.

    What has ended in this folder before is told again, not run. Raises CalledProcessError with the failing command.
    """
    home, state, ended = folder / "home", folder / ".state", folder / ".ended"
    home.mkdir(parents=True, exist_ok=True)
    told = json.loads(ended.read_text(encoding="utf-8")) if ended.exists() else []
    place, more = json.loads(state.read_text(encoding="utf-8")) if told else (folder, environment(home))
    yield from map(tuple, told)
    for line in lines[len(told) :]:
        print(f"\n$ {line}", flush=True)
        began = time.monotonic()
        # The shell's folder and variables are carried on to the next line, as in a terminal.
        script = f"{line}\n{shlex.join([sys.executable, '-c', REMEMBER, str(state)])}"
        subprocess.run(["bash", "-e", "-c", script], cwd=place, env=more, input="\n" * 40, text=True, check=True)
        place, more = json.loads(state.read_text(encoding="utf-8"))
        told.append((line, time.monotonic() - began, _gigabytes(folder)))
        ended.write_text(json.dumps(told), encoding="utf-8")
        yield told[-1]


def _gigabytes(folder: Path) -> float:
    size = subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True).stdout.split()[0]
    return int(size) / 1e6


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--section", action="append", help="a heading of README.md; by default the first two")
    options.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    options.add_argument("--without", default="$^", help="skip the commands that match this pattern, e.g. 'make test'")
    options.add_argument("--list", action="store_true", help="print the commands, run nothing")
    asked = options.parse_args()
    lines = commands((ROOT / "README.md").read_text(encoding="utf-8"), tuple(asked.section or SECTIONS))
    lines = [line for line in lines if not re.search(asked.without, line)]
    if asked.list:
        print("\n".join(lines))
        return 0
    told, code = [], 0
    with tempfile.TemporaryDirectory(prefix="first-hour-") as scratch:
        try:
            for ended in run_all(lines, asked.keep or Path(scratch)):
                told.append(ended)  # one by one: a failure keeps what was told before it
        except subprocess.CalledProcessError as failure:
            print(f"failed with {failure.returncode}: {failure.cmd[-1].splitlines()[0]}", file=sys.stderr)
            code = 1
    print("\n| command | minutes | GB on disk |\n|---|---|---|")
    for line, seconds, size in told:
        print(f"| `{line}` | {seconds / 60:.1f} | {size:.2f} |")
    print(f"| all | {sum(seconds for _, seconds, _ in told) / 60:.1f} | |")
    return code


if __name__ == "__main__":
    sys.exit(main())
