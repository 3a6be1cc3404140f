"""What the workflows may have: runners, actions, triggers, scopes, environments, outputs and contexts, all listed."""

from __future__ import annotations

HOSTED = "ubuntu-24.04"
GPU = '${{ fromJSON(vars.GPU_RUNNER_LABELS || \'["self-hosted","gpu"]\') }}'
ACTIONS = {
    "actions/checkout": "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "actions/upload-artifact": "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0",
    "actions/download-artifact": "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1",
}
"""Every third-party action, with commit and version: three, all GitHub's own (T24)."""
TRIGGERS = {"push", "pull_request", "merge_group", "workflow_dispatch", "workflow_call"}
READ, COMMENT = {"contents": "read"}, {"pull-requests": "write"}
TRAIN = {**READ, **COMMENT, "actions": "read", "statuses": "write"}
SCOPES: dict[str, dict[str, dict[str, str]]] = {
    "generated/ci.yml": {"lint": READ, "test": READ},
    "generated/data.yml": {
        "validate": READ, "gate": {}, "comment": {**READ, **COMMENT},
        "request-training": {**READ, "pull-requests": "read", "actions": "write"},
    },
    "generated/train.yml": {
        "resolve": {**TRAIN, "pull-requests": "read"}, "approve": {}, "train": READ, "report": TRAIN,
    },
    "generated/release.yml": {
        "resolve": {**READ, "actions": "read"}, "train": TRAIN,
        "model": {**READ, "actions": "read", "id-token": "write"},
        "github-release": {"contents": "write"}, "record": {"contents": "write", **COMMENT},
    },
    "template/ci.yml": {"lint": READ, "bake": READ, "pipeline": READ, "gate": {}},
    "template/release.yml": {"check": READ, "test": READ, "publish": {"contents": "write"}},
}  # fmt: skip
"""What each job's token may do: nothing more, nothing less."""
ENVIRONMENTS = {
    ("generated/train.yml", "approve"): "gpu-training",
    ("generated/train.yml", "train"): "gpu-base",
    ("generated/release.yml", "model"): "hf-release",
}
READ_TOKEN = ("generated/train.yml", "train", ".venv/bin/python scripts/fetch_base.py --project build/work")
"""The one step outside of hf-release that is given a secret, HF_READ_TOKEN: main's code, before any of the input's."""
OUTPUTS = {
    "fingerprint": "hex",
    "digest": "hex",
    "reuse": "integer",
    "run": "integer",
    "training": "enum",
    "source": "enum",
}
"""Every output that a step or job may have; runner.set_output refuses other kinds of values (T15)."""
CONTEXTS = {
    "github.event_name",
    "github.ref",
    "github.repository",
    "github.run_id",
    "github.sha",
    "github.token",
    "github.workflow",
    "github.event.pull_request.number",
    "github.event.pull_request.head.sha",
    "github.event.pull_request.base.sha",
    "github.event.pull_request.head.repo.full_name",
    "github.event.pull_request.user.login",
    "github.event.merge_group.base_sha",
    "secrets.HF_TOKEN",
    "secrets.HF_READ_TOKEN",
    "vars.GATED_BASE",
    "vars.GPU_RUNNER_LABELS",
    "vars.TORCH_INDEX",
    "inputs.sha",
    "inputs.pr",
    "matrix.cookiecutter",
    "matrix.target",
}
"""Everything that an expression may read beside results and outputs: no text that a stranger writes (T17)."""
