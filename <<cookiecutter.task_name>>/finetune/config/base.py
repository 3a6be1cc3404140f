"""What every configuration schema shares: closed, frozen, strict, documented beneath each field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

_HUB_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")


class Section(BaseModel):
    """A closed, immutable part of a configuration: an unknown key is an error, a string is no number."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _frozen_lists(cls, values: Any) -> Any:
        # YAML has lists only; a frozen schema holds tuples, and strict mode takes no list for one.
        if not isinstance(values, dict):
            return values
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def derived(rule: str, **rules: Any) -> Any:
    """A field that the file may leave out: task_defaults.py fills it in; `rule` tells people from what."""
    return Field(json_schema_extra={"derived": rule}, **rules)


def rule_of(field: FieldInfo) -> str | None:
    """What a derived field follows from; None for any other."""
    extra = field.json_schema_extra
    return str(extra["derived"]) if isinstance(extra, dict) and "derived" in extra else None


class RuleBroken(ValueError):
    """Broken rules of ours, as (code, message, fix, key below the section); `loading.build` makes problems of them."""

    def __init__(self, rules: Iterable[tuple[str, str, str, str]]) -> None:
        self.rules = tuple(rules)
        super().__init__("; ".join(message for _, message, _, _ in self.rules))


def wrong(code: str, message: str, fix: str, at: str = "") -> RuleBroken:
    """One broken rule; `at` is the dotted key below the section that raises, where the section itself is too coarse."""
    return RuleBroken([(code, message, fix, at)])


def raise_all(found: Iterable[RuleBroken]) -> None:
    """Raise everything found as one error, so that the user sees all of it at once."""
    rules = [rule for broken in found for rule in broken.rules]
    if rules:
        raise RuleBroken(rules)


def is_hub_name(name: str) -> bool:
    """Whether the Hub accepts `name` as a namespace or as a repository's own name."""
    return bool(_HUB_NAME.fullmatch(name)) and ".." not in name and "--" not in name and not name.endswith(".git")


def is_hub_id(repo: str) -> bool:
    """Whether `repo` is namespace/name as the Hub accepts it, at most 96 characters long."""
    parts = repo.split("/")
    return len(parts) == 2 and len(repo) <= 96 and all(map(is_hub_name, parts))


def _whole_is_real(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _share(value: float) -> float:
    if not 0.0 < value <= 1.0:
        raise wrong("E228", f"{value:g} is no threshold: every model or none would pass", "above 0, at most 1")
    return value


def _seed(value: object) -> object:
    if type(value) is not int or not 0 <= value < 2**32:
        raise wrong("E227", "no seed", "write a whole number from 0 to 4294967295")
    return value


Real = Annotated[float, BeforeValidator(_whole_is_real)]
"""A finite float; `1` is accepted for `1.0`, `true` and `"1"` are not."""

Fraction = Annotated[Real, Field(ge=0.0, le=1.0, json_schema_extra={"minimum": 0, "maximum": 1})]
"""A float from 0 to 1."""

Threshold = Annotated[Real, AfterValidator(_share), Field(json_schema_extra={"exclusiveMinimum": 0, "maximum": 1})]
"""A float above 0 and at most 1 that a score must reach."""

Seed = Annotated[int, BeforeValidator(_seed), Field(json_schema_extra={"minimum": 0, "maximum": 2**32 - 1})]
"""A whole number that every random generator in use accepts: 0 to 2**32 - 1."""
