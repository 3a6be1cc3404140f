"""The table: every setting of the repository that the workflows rely on, and why."""

from __future__ import annotations

from functools import partial

from finetune.github.setup import rulesets
from finetune.github.setup.expectations import (
    Expectation,
    environment,
    labels,
    public,
    runner_labels,
    switch,
    turned_on,
)

TRAINING = "gpu-training"
RELEASE = "hf-release"
BASE = "gpu-base"
_PERMISSIONS = "actions/permissions"
_ACTIONS = "Actions > General"
READ_ONLY = {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": True}
"""The second lets release.yml open the pull request with its record: opening and approving are one switch."""

EXPECTATIONS = (
    Expectation(
        "variable GPU_RUNNER_LABELS", "where train.yml and release.yml find the GPU",
        "Secrets and variables > Actions > Variables", runner_labels,
    ),
    Expectation(
        f"environment {TRAINING}", "train / approve waits here; main by dispatch, v* when a release trains again",
        "Environments", partial(environment, TRAINING, (("main", "branch"), ("v*", "tag"))),
    ),
    Expectation(
        f"environment {BASE}", "train / train runs in it: a read token for a gated base model, if anything",
        "Environments", partial(environment, BASE, (("main", "branch"), ("v*", "tag")), asks=False),
    ),
    Expectation(
        f"environment {RELEASE}", "only a tag v* may publish, or ask the Hub for a token",
        "Environments", partial(environment, RELEASE, (("v*", "tag"),)),
    ),
    Expectation(f"tag ruleset: {rulesets.TAGS}", "a published version keeps its code", "Rules", rulesets.tags),
    Expectation(
        f"tag ruleset: {rulesets.MAKERS}", "a tag publishes with the code it names", "Rules", rulesets.makers,
    ),
    Expectation(
        f"branch ruleset: {rulesets.MAIN}", "the data check and a code owner before main",
        "Rules", rulesets.main,
    ),
    Expectation(
        "actions pinned to a commit", "a moved tag of an action must not run",
        _ACTIONS, partial(switch, _PERMISSIONS, {"enabled": True, "sha_pinning_required": True}, ("allowed_actions",)),
    ),
    Expectation(
        "the workflows' token", "read-only unless a job says more; the release opens its record's pull request",
        _ACTIONS, partial(switch, f"{_PERMISSIONS}/workflow", READ_ONLY, ()),
    ),
    Expectation(
        "approval of pull requests from forks", "nobody from outside starts a workflow without a yes",
        _ACTIONS, partial(public, partial(
            switch, f"{_PERMISSIONS}/fork-pr-contributor-approval",
            {"approval_policy": "all_external_contributors"}, (),
        )),
    ),
    Expectation(
        "immutable releases", "what a release holds is never exchanged",
        "General > Releases", partial(turned_on, "immutable-releases"),
    ),
    Expectation(
        "private vulnerability reports", "SECURITY.md sends people there",
        "Advanced Security", partial(public, partial(turned_on, "private-vulnerability-reporting")),
    ),
    Expectation("labels", "issues, Dependabot and the release use them", "Issues > Labels", labels),
)  # fmt: skip
