"""What every configuration schema shares: closed, frozen, strict, documented beneath each field."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A closed, immutable part of a configuration: an unknown key is an error, a string is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _frozen_lists(cls, values: Any) -> Any:
        # YAML has lists only; a frozen schema holds tuples, and strict mode takes no list for one.
        if not isinstance(values, dict):
            return values
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _whole_is_real(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Real = Annotated[float, BeforeValidator(_whole_is_real)]
"""A finite float; `1` is accepted for `1.0`, `true` and `"1"` are not."""

Fraction = Annotated[Real, Field(ge=0.0, le=1.0)]
"""A float from 0 to 1."""


def wrong(code: str, message: str, fix: str) -> ValueError:
    """The ValueError that `loading.build` turns into a coded problem."""
    return ValueError("|".join(part.replace("|", "/") for part in (code, message, fix)))
