"""task_definition.yaml: what the task is, what a right answer looks like, and how good is good enough.

Only what nobody can guess is required; the rest has a default here or a rule in task_defaults.py.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from finetune.characters import difference, skeleton
from finetune.config.base import Real, Section, Threshold, derived, is_hub_id, is_hub_name, raise_all, wrong
from finetune.config.shapes import shape
from finetune.config.task_defaults import METRICS, PLACEHOLDER, complete

TaskType = Literal["classification", "extraction", "generation"]

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
_LABELS = [{"name": "billing", "description": "charges and refunds"}, {"name": "shipping", "description": "parcels"}]
_ENTITY_TYPES = [{"name": "order_id", "description": "an order number as written, such as A-20581"}]


class Named(Section):
    """A label or an entity type: whatever one line of the prompt and of the answer can hold.

    The questions of cookiecutter have the same rule (hooks/pre_gen_project.py of the template); where : and ; separate,
    they cannot stand in a name.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(examples=["billing"])
    """As the model must write it."""
    description: Annotated[str, StringConstraints(min_length=1, max_length=300)] = Field(
        examples=["charges and refunds"]
    )
    """One line; it goes into the system prompt."""

    @model_validator(mode="after")
    def _one_line(self) -> Named:
        for text in (self.name, self.description):
            if not text.isprintable() or text != text.strip():
                raise wrong("E216", "control character, line break or outer space in the text", "write it on one line")
        return self


class Input(Section):
    """What a record brings in."""

    field: FieldName = "input"
    """Name of the raw record's field."""
    description: Text = derived("a sentence in the task's language")
    """What the text is and where it comes from."""
    max_chars: int = Field(default=2000, ge=1, le=200_000)
    """Longest input accepted, in characters; longer rows are errors, never cut."""
    example: Text = derived("a question in the task's language")
    """One input as users write it; cards and guide show it."""


class Output(Section):
    """What the model must answer."""

    field: FieldName = derived("label, entities or output, by task_type")
    """Name of the raw record's field that holds the answer."""
    description: Text = derived("a sentence for the task_type, in the task's language")
    """What a right answer is, in a sentence."""
    labels: tuple[Named, ...] = Field(default=(), examples=[_LABELS])
    """The closed set of answers, two or more; classification needs it."""
    entity_types: tuple[Named, ...] = Field(default=(), examples=[_ENTITY_TYPES])
    """The closed set of entity types; extraction needs it."""
    max_new_tokens: int = derived(
        "16, 256 or 160 by task_type, more in Chinese, Japanese and Korean and for long labels", ge=1, le=8192
    )
    """Longest answer generated, in tokens; the token cap of every served artefact."""
    example: Text = derived("the first label, an empty list of entities, or a sentence")
    """One answer, as the model writes it; cards and guide show it."""


class Metrics(Section):
    """How the task is judged."""

    primary: str = derived("macro_f1, entity_f1 or rouge_l, by task_type", examples=["macro_f1"])
    """The metric the release depends on."""
    threshold: Threshold = derived("0.8, or 0.3 for generation", examples=[0.8])
    """Lowest primary value that passes the gate; 0.80 or more is suggested for classification and extraction."""
    secondary: tuple[str, ...] = derived("the other metrics of the task_type", examples=[["accuracy"]])
    """Further metrics in the report."""


class Data(Section):
    """What the data must look like."""

    id_field: FieldName = "id"
    """Optional field with a stable row id."""
    group_field: FieldName = "group"
    """Optional field; rows of one group never straddle two splits (one customer, one document)."""
    expected_rows: int = Field(default=1000, ge=1)
    """How many rows are planned; the data report compares."""
    min_rows_per_class: int = Field(default=10, ge=1)
    """Fewest rows of a label or entity type."""
    max_imbalance: Real = Field(default=3.0, ge=1.0)
    """Largest class divided by smallest class."""
    imbalance_policy: Literal["warn", "error"] = "warn"
    """What classes beyond max_imbalance are."""
    duplicates: Literal["warn", "error"] = "warn"
    """What an exact duplicate row is. A conflicting one is always an error."""
    near_duplicates: Literal["leave_out", "error", "ignore"] = "leave_out"
    """What becomes of a training or validation row of which a later split has a near-duplicate."""
    personal_data: Literal["warn", "error", "ignore"] = "warn"
    """What an e-mail address, phone or card number, IBAN or Taiwan national ID in a text is."""
    balance: Literal["none", "oversample", "weights"] = "none"
    """How the training split is balanced; validation and test are never touched. Classification only."""


class Resources(Section):
    """Where it is trained."""

    preset: Text = derived("24GB-4B-LoRA")
    """The hardware preset the configuration started from."""
    gpu_memory_gb: int = derived("the preset's", ge=0, le=10_000, examples=[24])
    """Memory of the runner's GPU in GB; 0 means CPU."""


class Hub(Section):
    """The three Hugging Face repositories of a release."""

    namespace: Text = Field(examples=["your-namespace"])
    """Your user or organisation on the Hub."""
    adapter: Text = derived("namespace/task_name-lora")
    """The LoRA adapter's repository."""
    gguf: Text = derived("namespace/task_name-gguf")
    """The GGUF files' repository."""
    merged: Text = derived("namespace/task_name")
    """The merged model's repository."""
    private: bool = derived("true where the licence is LicenseRef-Proprietary, else false")
    """Whether the repositories are made private."""

    @model_validator(mode="after")
    def _three_repositories(self) -> Hub:
        repos = {"adapter": self.adapter, "gguf": self.gguf, "merged": self.merged}
        found = [
            wrong("E230", f"{repo[:120]!r} is not a Hub repository id", "use namespace/name", kind)
            for kind, repo in repos.items()
            if not is_hub_id(repo)
        ]
        if not is_hub_name(self.namespace):
            message = f"{self.namespace[:120]!r} is not a Hub namespace"
            found.append(wrong("E230", message, "write your user or organisation name", "namespace"))
        if len({repo.casefold() for repo in repos.values()}) != 3:
            found.append(wrong("E230", "the three repositories must differ", "name them …-lora, …-gguf and …"))
        raise_all(found)
        return self


class TaskDefinition(Section):
    """The whole of task_definition.yaml."""

    version: Literal[1] = 1
    """Of this file's format; nobody needs to write it."""
    task_name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,62}$")] = Field(examples=["ticket-router"])
    """Lower case English letters, digits and hyphens; no spaces."""
    task_type: TaskType = Field(examples=["classification"])
    """What the model does with a text: choose one label, list the entities in it, or write a text."""
    description: Text = Field(examples=["Route a message to the team that answers it"])
    """The task in one sentence."""
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = Field(examples=["en"])
    """BCP 47 tag of the data, e.g. en or zh-TW."""
    status: Literal["draft", "released"] = "draft"
    """Set to released by the release, with its version."""
    released_version: str | None = None
    """Written by the release."""
    license: Text = derived("LicenseRef-Proprietary: all rights reserved", examples=["apache-2.0"])
    """SPDX identifier of the published model."""
    input: Input = derived("its keys' defaults", examples=[{"field": "input"}])
    output: Output = derived("its keys' defaults", examples=[{"labels": _LABELS}])
    system_prompt: Annotated[str, StringConstraints(min_length=1, max_length=20_000)] = derived(
        "an instruction for the task_type in the task's language", examples=["Choose one label.\n{labels}"]
    )
    """The instruction; {labels} or {entity_types} is replaced by the list with its descriptions."""
    metrics: Metrics = derived("its keys' defaults", examples=[{"primary": "macro_f1", "threshold": 0.8}])
    data: Data = Data()
    resources: Resources = derived("its keys' defaults", examples=[{"preset": "24GB-4B-LoRA"}])
    hub: Hub

    @model_validator(mode="before")
    @classmethod
    def _derived(cls, values: Any) -> Any:
        return complete(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _consistent(self) -> TaskDefinition:
        found, known = [], METRICS[self.task_type]
        for metric in self.metric_names:
            if metric not in known:
                at = "metrics.primary" if metric == self.metrics.primary else "metrics.secondary"
                message = f"metric {metric[:60]!r} does not fit {self.task_type}"
                found.append(wrong("E228", message, f"one of {', '.join(known)}", at))
        for kind, named in (("labels", self.output.labels), ("entity_types", self.output.entity_types)):
            spelled: dict[str, str] = {}
            for index, item in enumerate(named):
                twin = spelled.get(skeleton(item.name))
                if twin is None:
                    spelled[skeleton(item.name)] = item.name
                    continue
                if twin.casefold() == item.name.casefold():
                    message, fix = f"{item.name!r} stands there twice", "differ in more than letter case"
                else:
                    what = difference(item.name, twin)
                    message, fix = f"{item.name!r} looks like {twin!r}: {what}", "keep one spelling"
                found.append(wrong("E217", message, fix, f"output.{kind}.{index}.name"))
        if self.task_type == "classification" and len(self.output.labels) < 2:
            fix = f"list every label: {shape('labels', _LABELS)}"
            found.append(wrong("E217", "fewer than two labels", fix, "output.labels"))
        if self.task_type == "extraction" and not self.output.entity_types:
            fix = f"list every type: {shape('entity_types', _ENTITY_TYPES)}"
            found.append(wrong("E217", "no entity type", fix, "output.entity_types"))
        placeholder = PLACEHOLDER.get(self.task_type)
        if placeholder and placeholder not in self.system_prompt:
            found.append(wrong("E218", f"{placeholder} is missing", f"put {placeholder} into it", "system_prompt"))
        if self.data.balance != "none" and self.task_type != "classification":
            message = f"{self.data.balance} balances classes, and {self.task_type} has none"
            found.append(wrong("E228", message, "write none", "data.balance"))
        fields: dict[str, str] = {}
        for role, field in (
            ("input.field", self.input.field),
            ("output.field", self.output.field),
            ("data.id_field", self.data.id_field),
            ("data.group_field", self.data.group_field),
        ):
            if field in fields:
                message = f"{field!r} is the field of {fields[field]} already"
                found.append(wrong("E219", message, "give every role its own field", role))
            fields.setdefault(field, role)
        raise_all(found)
        return self

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.output.labels)

    @cached_property
    def entity_type_names(self) -> tuple[str, ...]:
        return tuple(entity.name for entity in self.output.entity_types)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Primary metric first, each once."""
        return tuple(dict.fromkeys((self.metrics.primary, *self.metrics.secondary)))
