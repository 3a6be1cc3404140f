"""The artifacts that workflows uploaded: ID.zip with ID.json beside it, in a folder for each run."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path


def read(folder: Path, name: str) -> dict[str, bytes]:
    """Files of the newest artifact whose name begins with `name`."""
    with zipfile.ZipFile(_newest(folder, name)) as archive:
        return {member: archive.read(member) for member in archive.namelist()}


def replace(folder: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Put other files into it, as whoever holds the training runner could: its digest fits what is in it."""
    archive = _newest(folder, name)
    with zipfile.ZipFile(archive, "w") as target:
        for member, data in files.items():
            target.writestr(member, data)
    record = archive.with_suffix(".json")
    values = json.loads(record.read_text(encoding="utf-8"))
    values["digest"] = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    record.write_text(json.dumps(values), encoding="utf-8")


def _newest(folder: Path, name: str) -> Path:
    records = sorted(folder.glob("*/*.json"), key=lambda path: -int(path.stem))
    for record in records:
        if json.loads(record.read_text(encoding="utf-8"))["name"].startswith(name):
            return record.with_suffix(".zip")
    raise AssertionError(f"no artifact {name}")
