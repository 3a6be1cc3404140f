"""What the HTML reports have in common: one file, no script, nothing loaded, light and dark by preference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parent / "templates"
"""page.css.j2, the style that every page includes."""


def render_page(
    template: str, *, folders: Sequence[Path], filters: Mapping[str, Callable[..., Any]], **values: Any
) -> str:
    """The page; its templates lie in `folders`, and every value that is no Markup is escaped.

    Raises jinja2.UndefinedError where a template asks for what was not given.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([*folders, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(filters)
    return environment.get_template(template).render(**values)
