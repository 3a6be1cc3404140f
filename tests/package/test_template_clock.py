"""A chat template that looks at the clock shows the model the same tokens every day, in training and as shipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from exporting import project_after, write_adapter
from finetune import provenance
from finetune.config.project import Project
from finetune.data.chat_format import encode_prompt, prompt_messages
from finetune.data.tokens.base_tokenizer import BaseTokenizer
from finetune.data.tokens.plain_tokenizer import PlainTokenizer
from finetune.data.tokens.template_clock import DAY, clock, drawn, macro, pinned
from finetune.errors import FinetuneError
from finetune.export.gguf_check import template_of
from finetune.export.merge import CLOCK, merge
from finetune.training.base_model import load_tokenizer, resolve_base

DATED = "{{ strftime_now('%d %b %Y') }}\n"


def on(day: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What transformers tells a template that asks."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return day

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)


@pytest.fixture
def dated(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """An adapter of a base model whose template begins with the date."""
    project = project_after("train", make_project, tmp_path / "trained")
    folder = project.paths.root / "models" / "base" / "tiny"
    place(folder, DATED + BaseTokenizer(folder).published_template)
    write_adapter(project)
    return project


def place(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}), encoding="utf-8")


def test_the_same_tokens_every_day_and_in_every_tokenizer(dated: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    base, messages = resolve_base(dated), prompt_messages(dated.task, "where is my parcel")
    merge(dated)
    shown = set()
    for day in (datetime(2026, 1, 2), datetime(2027, 3, 4)):
        on(day, monkeypatch)
        published = AutoTokenizer.from_pretrained(base.path)
        assert published.decode(encode_prompt(published, messages, {})).startswith(f"{day:%d %b %Y}")
        published.chat_template = macro({"%d %b %Y": f"{DAY:%d %b %Y}"}) + published.chat_template  # the adapter's card
        shipped = AutoTokenizer.from_pretrained(dated.paths.merged)
        for tokenizer in (load_tokenizer(base), PlainTokenizer(BaseTokenizer(base.path)), published, shipped):
            shown.add(tuple(encode_prompt(tokenizer, messages, {})))
    assert len(shown) == 1
    assert load_tokenizer(base).decode(shown.pop()).startswith("26 Jul 2024\n")


def test_the_day_is_written_down_and_the_shipped_template_is_the_trained_one(dated: Project) -> None:
    from transformers import AutoTokenizer

    merge(dated)
    manifest = provenance.read_manifest(dated.paths.merged / provenance.MANIFEST)
    assert manifest is not None and manifest.facts[CLOCK] == {"%d %b %Y": "26 Jul 2024"}
    shipped = template_of(AutoTokenizer.from_pretrained(dated.paths.merged))
    assert shipped == template_of(load_tokenizer(resolve_base(dated)))


@pytest.mark.parametrize("form", ["jinja", "named"])
def test_every_form_in_which_a_template_is_shipped_is_pinned(dated: Project, form: str) -> None:
    from transformers import AutoTokenizer

    folder = dated.paths.root / "models" / "base" / "tiny"
    text = BaseTokenizer(folder).published_template
    if form == "named":
        file = folder / "tokenizer_config.json"
        named = [{"name": name, "template": text} for name in ("default", "tool_use")]
        file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": named}), encoding="utf-8")
    else:
        (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    write_adapter(dated)
    merge(dated)
    found = AutoTokenizer.from_pretrained(dated.paths.merged).chat_template
    assert set(found.values() if isinstance(found, dict) else [found]) == {pinned(text)}
    assert BaseTokenizer(dated.paths.merged).template == BaseTokenizer(folder).template == pinned(text)


@pytest.mark.parametrize("template", [
    "\n\n  {% if true %}x{% endif %}{{ strftime_now('%d %b %Y') }}",
    "  {{ strftime_now('%B') }} a\n",
    "{% macro f(x) %}{{ strftime_now(x) }}{% endmacro %}{{ f('%d %b %Y') }}",
    "{% if strftime_now is defined %}\n{% set day = strftime_now('%Y \"x\"') %}\n{% else %}no{% endif %}\n{{ day }}",
    "{% for m in messages %}  {{ strftime_now('%d') | int + 1 }} {{ strftime_now('%A') | upper }}\n{% endfor %}",
    "{% generation %}{{ strftime_now('%H:%M') }}{% endgeneration %}",
])  # fmt: skip
def test_nothing_but_the_clock_is_another(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    def rendered(text: str) -> str:
        return render_jinja_template([[{"role": "user", "content": "a"}]], chat_template=text)[0][0]

    on(DAY, monkeypatch)
    expected = rendered(template)
    on(datetime(2030, 2, 3, 4, 5), monkeypatch)
    assert rendered(template) != expected
    assert rendered(pinned(template)) == expected
    assert pinned(pinned(template)) == pinned(template)


@pytest.mark.parametrize("template", [
    "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ date_string }}",
    "{# strftime_now() #}{{ messages[0].content }}",
    "{{ 'strftime_now' }}",
    "{% not a template",
])  # fmt: skip
def test_a_template_without_a_clock_keeps_its_bytes(template: str) -> None:
    assert pinned(template) == template and clock(template) == {}


@pytest.mark.parametrize(("template", "lots"), [
    ("{{ ['a', 'b'] | random }}", "random"),
    ("{% generation %}{{ lipsum(1) }}{% endgeneration %}", "lipsum"),
    ("{{ messages.random }}{{ 'random' }}", ""),
])  # fmt: skip
def test_what_is_drawn_at_random_is_found(template: str, lots: str) -> None:
    assert drawn(template) == lots


def test_a_template_that_draws_lots_is_refused(make_project: Callable[..., Project]) -> None:
    project = make_project(base=True)
    folder = project.paths.root / "models" / "base" / "tiny"
    place(folder, "{{ ['a', 'b'] | random }}" + BaseTokenizer(folder).published_template)
    with pytest.raises(FinetuneError, match=r"E296 .* it draws at random \(random\)"):
        load_tokenizer(resolve_base(project))
    with pytest.raises(FinetuneError, match=r"E296 .* it draws at random \(random\)"):
        encode_prompt(PlainTokenizer(BaseTokenizer(folder)), prompt_messages(project.task, "a"), {})
