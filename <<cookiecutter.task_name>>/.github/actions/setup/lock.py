"""Write the digests by which the base install is checked: python3 .github/actions/setup/lock.py

After a version in constraints.txt or a dependency in pyproject.toml has changed. Asks the package index, by uv
(pipx install uv), for every wheel of every platform. Exit 2: no uv or a wrong input; exit 74: uv failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from setup import CONSTRAINTS, IO_FAULT, LOCKS, SetupError, requirements

HEAD = "# Every wheel of {what}, by its digest; written by .github/actions/setup/lock.py.\n"


def lock(root: Path, extra: str) -> Path:
    """The file for `extra` ("" is the base install), written anew and then renamed."""
    wanted, alone = requirements(root, [extra] if extra else [])
    uv = shutil.which("uv")
    if not uv:
        raise SetupError("there is no uv. Fix: pipx install uv")
    # What comes alone has no requirements of its own here: setup.py says why.
    asked, options = (alone, ["--no-deps"]) if extra else (wanted, [])
    command = [uv, "pip", "compile", "-", "-c", CONSTRAINTS, "--generate-hashes", "--only-binary", ":all:", *options]
    command += ["--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "-q"]
    done = subprocess.run(command, cwd=root, input="\n".join(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"uv failed: {done.stderr.strip()}", IO_FAULT, "E252")
    target = root / LOCKS / f"{extra or 'base'}.txt"
    part = target.with_name(f"{target.name}.part")
    part.write_text(HEAD.format(what=f"the extra {extra}" if extra else "the base install") + done.stdout, "utf-8")
    os.replace(part, target)
    return target


def main() -> int:
    try:
        for extra in ("", "tokens"):
            print(lock(Path.cwd(), extra))
    except SetupError as error:
        print(error, file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"E251 {error.filename}: {error.strerror}", file=sys.stderr)
        return IO_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main())
