"""What step 01 decided about each row, for step 02: bound to the data, the task and everything the checks depend on."""

from __future__ import annotations

from importlib.util import find_spec

import msgspec

from finetune import provenance
from finetune.config.project import Project
from finetune.data.check_results import SplitCounts
from finetune.data.checks import Checks
from finetune.data.scan.survey import Survey
from finetune.data.splits import SPLITS
from finetune.data.tokens.base_tokenizer import find_base_tokenizer
from finetune.data.tokens.committed_tokenizer import FILES

CHECKS_VERSION = 2
"""Raised when a check is added or finds more: what passed an older one is then checked again."""


class FilePlan(msgspec.Struct):
    """The rows of a file that are not converted as they are, by line."""

    ids: dict[int, str] = {}
    """Ids other than the default one."""
    left_out: list[int] = []
    """Near-duplicates of rows in a later split."""


class Plan(msgspec.Struct):
    """data_plan.json. It exists only for data without an error."""

    inputs: dict[str, str]
    """The digests of `stage.data_inputs` and of the checks."""
    rows: dict[str, int]
    """Rows of each split."""
    classes: dict[str, SplitCounts]
    """Rows of each class, in all and by split."""
    files: dict[str, FilePlan]
    groups: bool
    """Whether rows have groups."""


def checks_digest(project: Project) -> str:
    """Of what the checks read beside data and task: the base model, its tokenizer where there is one, the limits."""
    base = find_base_tokenizer(project)
    files = [base.folder / name for name in FILES] if base else []
    tokens = {file.name: provenance.sha256(file) for file in files if file.is_file()}
    counted = find_spec("tokenizers") is not None
    training = project.training.model_dump(mode="json", include={"base_model", "max_length"})
    return provenance.digest({"version": CHECKS_VERSION, "files": tokens, "counted": counted, **training})


def class_table(checks: Checks) -> dict[str, SplitCounts]:
    """Rows of each class, in all, by split, and left out."""
    return {name: checks.counts(name) for name in checks.class_names}


def make_plan(inputs: dict[str, str], survey: Survey, checks: Checks) -> Plan:
    """The plan for data without an error."""
    files = {name: FilePlan() for name in survey.lines}
    for row, identifier in survey.ids.items():
        name, line = survey.place(row)
        files[name].ids[line] = identifier
    for near in checks.left_out:
        name, line = survey.place(near.row)
        files[name].left_out.append(line)
    rows: dict[str, int] = {split: checks.rows[split] for split in SPLITS}
    return Plan(inputs, rows, class_table(checks), files, bool(survey.groups))


def write_plan(project: Project, plan: Plan) -> None:
    """Write data_plan.json."""
    provenance.write_bytes(project.paths.data_plan, msgspec.json.encode(plan) + b"\n")


def read_plan(project: Project, inputs: dict[str, str]) -> Plan | None:
    """The plan of step 01 where it was made from these very inputs; anything else is no plan."""
    try:
        plan = msgspec.json.decode(project.paths.data_plan.read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return plan if plan.inputs == inputs else None
