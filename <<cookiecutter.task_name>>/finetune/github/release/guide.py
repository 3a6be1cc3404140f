"""docs/integration_guide.md: how to call this very model from Ollama, llama.cpp, vLLM and transformers.

The snippets are the model cards' own, with the commit in place of the tag. The guide is rendered text of receipts, task
and report: nothing in it is measured or looked up here, and the same release renders the same bytes.
"""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from finetune.github.release.published import Published

_TEMPLATES = Path(__file__).parent / "templates"


def words(language: str) -> dict[str, Any]:
    """The guide's own sentences: Traditional Chinese for zh-TW tasks, English for every other."""
    return _all_words()["zh-TW" if language == "zh-TW" else "en"]


@cache
def _all_words() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((_TEMPLATES / "guide.yaml").read_text(encoding="utf-8"))


def render_guide(published: Published) -> str:
    """The guide of one release, in the task's language."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from finetune.hub import filters

    hub_templates = Path(filters.__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader([_TEMPLATES, hub_templates]),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters.FILTERS, sh=shell)
    return environment.get_template("guide.md.j2").render(_context(published))


def shell(value: object) -> str:
    """`value` as one word of a POSIX shell, on one line: control characters as printf would write them."""
    text = str(value)
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(c if c.isprintable() else _escape(c) for c in text.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{escaped}'"  # bash's own quoting; a bare line break inside quotes would look like two commands


def _escape(character: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return known.get(character) or f"\\U{ord(character):08x}"


def _context(published: Published) -> dict[str, Any]:
    from finetune.data.chat_format import system_text, template_options
    from finetune.export.gguf import DEFAULTS
    from finetune.hub.cards import headings
    from finetune.hub.plan import KINDS

    project = published.project
    task, report = project.task, published.report
    quantisations = project.benchmark.quantisations
    recommended = next((name for name in DEFAULTS if name in quantisations), quantisations[-1])
    options, base = template_options(project.training), project.training.base_model
    model_name = f"{task.task_name}:{published.tag.version}"
    request = {
        "model": model_name,
        "stream": False,
        "messages": [{"role": "user", "content": task.input.example}],
    }
    on_hub = not base.id.startswith("models/base/")
    return {
        "t": words(task.language),
        "card": headings(task.language),
        "task": task,
        "tag": published.tag.name,
        "kinds": KINDS,
        "receipts": {kind: published.receipt(kind) for kind in KINDS},
        "urls": {kind: published.hub_url(kind) for kind in KINDS},
        "primary": report.primary,
        "confidence": f"{report.primary.confidence:.0%}",
        "rows": report.data.rows,
        "context": project.benchmark.generation.context,
        "stops": _stops(published),
        "system_prompt": system_text(task),
        "recommended": recommended,
        "gguf_file": f"{task.task_name}-{recommended}.gguf",
        "model_name": model_name,
        "ollama_request": json.dumps(request, ensure_ascii=False),
        "template_options": options,
        "template_arguments": "".join(f", {name}={value!r}" for name, value in options.items()),
        "base": {"id": base.id, "revision": base.revision if on_hub and base.pinned else None},
        "license": base.license,
        "sums_url": f"{published.server}/{published.repository}/releases/download/{published.tag.name}/SHA256SUMS",
    }


def _stops(published: Published) -> list[str]:
    """The stop sequences that Ollama is told, which are the model's own EOS tokens."""
    try:
        params = json.loads((published.project.paths.gguf / "params").read_text(encoding="utf-8"))
        stops = params["stop"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [str(stop) for stop in stops] if isinstance(stops, list) else [str(stops)]
