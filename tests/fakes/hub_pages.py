"""What the fake Hub says about a model to who asks for its page: commit, files, gate, card, number of weights."""

from __future__ import annotations

from typing import Any

import yaml

from .hub_api import FRONT, MODEL, Reply, Request, route
from .hub_store import Hub


@route("GET", f"{MODEL}(?:/revision/(?P<revision>[^/]+))?")
def repo_info(hub: Hub, request: Request, repo: str, revision: str = "main") -> Reply | dict[str, Any]:
    if repo in hub.renamed:
        rest = request.path.partition(repo)[2]
        return Reply({}, 307, {"Location": f"/api/models/{hub.renamed[repo]}{rest}"})
    found = hub.readable(request.authorization, repo)
    sha = found.resolve(revision)
    files = found.commits[sha].files
    siblings = [
        {"rfilename": path, **({"size": file.size} if "blobs" in request.query else {})}
        for path, file in sorted(files.items())
    ]
    info: dict[str, Any] = {
        "_id": "0" * 24,
        "id": repo,
        "modelId": repo,
        "sha": sha,
        "private": found.private,
        "gated": found.gated or False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": siblings,
    }
    if "README.md" in files and (front := FRONT.match(hub.read(repo, "README.md", sha).decode())):
        info["cardData"] = yaml.safe_load(front[1])
    if found.parameters:
        info["safetensors"] = {"parameters": found.parameters, "total": sum(found.parameters.values())}
    return info
