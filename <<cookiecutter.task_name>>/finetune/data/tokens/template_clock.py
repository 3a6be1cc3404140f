"""A chat template says the same thing every day: its clock stands still, and one that draws lots is refused.

Templates may ask transformers for the date (`strftime_now`). Trained on one day and served on another, a model would
be shown tokens that it never saw; so the template in force, from the first check to each shipped artefact, is the
published one behind a macro that answers with one day. Templates that do not ask stay as they are, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

DAY = datetime(2024, 7, 26)
"""What templates that read no clock write themselves: Llama 3.1 has it, and Llama 3.2 where it finds no clock."""
_CLOCK = "strftime_now"
_GENERATION = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")
"""A tag of transformers alone; it writes nothing."""
_LOTS = ("random", "lipsum")
"""What of Jinja writes something else each time: a filter and a function."""


def clock(template: str) -> dict[str, str]:
    """The text of DAY by each format in which `template` asks for the date; empty where it asks for none."""
    from jinja2 import nodes

    tree = _parsed(template)
    if tree is None or _CLOCK not in _undeclared(tree):
        return {}
    calls = [call for call in tree.find_all(nodes.Call) if getattr(call.node, "name", "") == _CLOCK]
    forms = [call.args[0].value for call in calls if call.args and isinstance(call.args[0], nodes.Const)]
    return {str(form): DAY.strftime(str(form)) for form in dict.fromkeys(["%d %b %Y", *forms])}


def pinned(template: str) -> str:
    """`template` with its clock set to DAY; the very same where it reads none, or was pinned before."""
    forms = clock(template)
    return macro(forms) + template if forms else template


def macro(forms: Mapping[str, str]) -> str:
    """What stands before a template and answers for the clock, for the `forms` that `clock` found."""
    first, *others = forms.items()
    # A chain of conditions, which every engine has. A form that cannot be read beforehand gets the first one's text.
    answer = _written(first[1])
    for form, text in reversed(others):
        answer = f"{{%- if form == {_quoted(form)} -%}}{_written(text)}{{%- else -%}}{answer}{{%- endif -%}}"
    # The line break belongs to the tag (trim_blocks), and what the template begins with still begins a line.
    return f"{{%- macro {_CLOCK}(form) -%}}{answer}{{%- endmacro %}}\n"


def drawn(template: str) -> str:
    """What in `template` writes something else each time, as its author wrote it; empty where nothing does."""
    from jinja2 import nodes

    tree = _parsed(template)
    if tree is None:
        return ""
    filters = {node.name for node in tree.find_all(nodes.Filter)}
    return next((name for name in _LOTS if name in filters | _undeclared(tree)), "")


def draws(lots: str) -> str:
    """Why a template in which `drawn` found this is refused."""
    return f"it draws at random ({lots}), so that no prompt is the same twice"


def _parsed(template: str) -> Any:
    """The syntax tree; None for what is no template, which whoever renders it will say."""
    from jinja2 import Environment, TemplateSyntaxError

    environment = Environment(extensions=["jinja2.ext.loopcontrols"])
    environment.globals.clear()  # they would count as declared
    try:
        return environment.parse(_GENERATION.sub("", template))
    except TemplateSyntaxError:
        return None


def _undeclared(tree: Any) -> set[str]:
    from jinja2 import TemplateAssertionError, meta

    try:
        return set(meta.find_undeclared_variables(tree))
    except TemplateAssertionError:  # a filter that is unknown here
        from jinja2 import nodes

        return {name.name for name in tree.find_all(nodes.Name) if name.ctx == "load"}


def _written(text: str) -> str:
    return f"{{{{- {_quoted(text)} -}}}}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
