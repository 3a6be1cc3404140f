"""What actions/upload-artifact v7 takes and refuses (its sources: search.ts, upload-artifact.ts, and @actions/glob).

An artifact is HARNESS_ARTIFACTS/RUN/ID.zip with ID.json beside it; the fake GitHub serves both.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

REFUSED_IN_NAMES = re.compile(r'[":<>|*?\r\n\\/]')
DEFAULT_DAYS = 90


def main() -> None:
    name, patterns = os.environ["NAME"], os.environ["PATTERNS"]
    if not name or REFUSED_IN_NAMES.search(name):
        sys.exit(f"::error::The artifact name is not valid: {name!r}")
    days = int(os.environ["RETENTION"] or 0) or DEFAULT_DAYS
    if not 1 <= days <= DEFAULT_DAYS:
        sys.exit(f"::error::Invalid retention-days: {days}")
    files, root = find(patterns.splitlines(), hidden=os.environ["HIDDEN"] == "true")
    if not files:
        wanted = os.environ["IF_NO_FILES"]
        message = f"No files were found with the provided path: {patterns!r}. No artifacts will be uploaded."
        print(message if wanted == "ignore" else f"::{wanted if wanted == 'error' else 'warning'}::{message}")
        sys.exit(wanted == "error")
    store(name, files, root, days)


def find(lines: list[str], hidden: bool) -> tuple[list[Path], Path]:
    """The files that the patterns name, and the folder that artifact paths are relative to.

    That folder is the least common ancestor of the *search paths*, the parts of the patterns before the first
    wildcard, whether anything was found there or not.
    """
    patterns = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    wanted = [Path.cwd() / pattern for pattern in patterns if not pattern.startswith("!")]
    roots = [search_path(path) for path in wanted]
    roots = [
        root
        for number, root in enumerate(roots)
        if not any(other in root.parents or (other == root and earlier < number) for earlier, other in enumerate(roots))
    ]
    rules = [(not line.startswith("!"), matcher(str(Path.cwd() / line.lstrip("!")))) for line in patterns]
    found = []
    for root in roots:
        for path in walk(root, hidden):
            taken = False
            for takes, rule in rules:
                if rule.fullmatch(str(path)):
                    taken = takes
            if taken and path.is_file():
                found.append(path)
    if len(roots) > 1:
        return found, Path(os.path.commonpath(roots))
    alone = len(found) == 1 and found[0] == roots[0]
    return found, roots[0].parent if alone else roots[0]


def search_path(pattern: Path) -> Path:
    """The pattern's leading parts without wildcards."""
    parts = []
    for part in pattern.parts:
        if re.search(r"[*?\[]", part):
            break
        parts.append(part)
    return Path(*parts)


def matcher(pattern: str) -> re.Pattern[str]:
    """`*` and `?` stay inside one name, `**` crosses folders, and what matches a folder takes all below it."""
    signs = {"*": "[^/]*", "?": "[^/]"}
    parts = [
        "(?:.*)" if part == "**" else "".join(signs.get(sign) or re.escape(sign) for sign in part)
        for part in pattern.rstrip("/").split("/")
    ]
    return re.compile("/".join(parts).replace("(?:.*)/", "(?:.*/)?") + "(?:/.*)?")


def walk(path: Path, hidden: bool) -> Iterator[Path]:
    """`path` and everything below it, through links; nothing whose name begins with a dot."""
    if not path.exists() or (path.name.startswith(".") and not hidden):
        return
    yield path
    if path.is_dir():
        for child in sorted(path.iterdir()):
            yield from walk(child, hidden)


def store(name: str, files: list[Path], root: Path, days: int) -> None:
    folder = Path(os.environ["HARNESS_ARTIFACTS"], os.environ["GITHUB_RUN_ID"])
    folder.mkdir(parents=True, exist_ok=True)
    for record in folder.glob("*.json"):
        if json.loads(record.read_text(encoding="utf-8"))["name"] == name:
            if os.environ["OVERWRITE"] != "true":
                sys.exit(f"::error::Failed to CreateArtifact: (409) Conflict: {name} already exists in this run")
            record.unlink()
            record.with_suffix(".zip").unlink()
    known = [int(record.stem) for record in folder.parent.glob("*/*.json")]
    number = max(known, default=5000) + 1
    archive = folder / f"{number}.zip"
    with zipfile.ZipFile(archive, "w") as target:  # permissions and times are not kept there either
        for file in files:
            target.writestr(zipfile.ZipInfo(file.relative_to(root).as_posix()), file.read_bytes())
    now = datetime.now(UTC)
    record = {
        "id": number,
        "name": name,
        "size_in_bytes": archive.stat().st_size,
        "created_at": stamp(now),
        "expires_at": stamp(now + timedelta(days=days)),
        "expired": False,
        "digest": f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}",
    }
    archive.with_suffix(".json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
        output.write(f"artifact-id={number}\n")
    print(f"Artifact {name} has been successfully uploaded: {len(files)} files, id {number}")


def stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
