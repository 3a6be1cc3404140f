"""What actions/download-artifact v8 does (its source: download-artifact.ts).

Without a token it sees the artifacts of its own run and silently ignores run-id; with one it asks the REST API, so that
the token's permissions, expiry and the digest count here too.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import quote


def main() -> None:
    name = os.environ["NAME"]
    found = from_api(name) if os.environ["TOKEN"] else from_this_run(name)
    if found is None:
        sys.exit(f"::error::Unable to download artifact(s): Artifact '{name}' not found")
    data, digest = found
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        sys.exit(f"::error::Digest validation failed for artifact(s): {name}")
    target = Path(os.environ["GITHUB_WORKSPACE"], os.environ["FOLDER"])
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(target)
        print(f"Artifact {name}: {len(archive.namelist())} files")


def from_this_run(name: str) -> tuple[bytes, str] | None:
    for record in Path(os.environ["HARNESS_ARTIFACTS"], os.environ["GITHUB_RUN_ID"]).glob("*.json"):
        values = json.loads(record.read_text(encoding="utf-8"))
        if values["name"] == name and not values["expired"]:
            return record.with_suffix(".zip").read_bytes(), values["digest"]
    return None


def from_api(name: str) -> tuple[bytes, str] | None:
    """The newest of that name in the run that run-id names."""
    listed = f"/repos/{os.environ['REPOSITORY']}/actions/runs/{os.environ['RUN']}/artifacts?name={quote(name)}"
    try:
        artifacts = json.loads(get(os.environ["GITHUB_API_URL"] + listed))["artifacts"]
        if not artifacts:
            return None
        newest = max(artifacts, key=lambda artifact: artifact["id"])
        return get(newest["archive_download_url"]), newest["digest"]
    except urllib.error.HTTPError as error:
        sys.exit(f"::error::Unable to download artifact(s): {error.code} {error.read().decode(errors='replace')}")


def get(url: str) -> bytes:
    request = urllib.request.Request(url)
    # Not sent on to where a download is redirected.
    request.add_unredirected_header("Authorization", f"Bearer {os.environ['TOKEN']}")
    with urllib.request.urlopen(request, timeout=60) as reply:
        return reply.read()


if __name__ == "__main__":
    main()
