"""The base model's tokenizer files without transformers: where they lie, their control tokens, their chat template."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from finetune.config.project import Project
from finetune.data.tokens.committed_tokenizer import committed_folder
from finetune.data.tokens.template_clock import DAY, drawn, draws, pinned
from finetune.provenance import MANIFEST, read_manifest


class _Token(msgspec.Struct, frozen=True):
    id: int
    content: str
    special: bool = False


class _TokenizerFile(msgspec.Struct, frozen=True):
    added_tokens: list[_Token] = []


@dataclass(frozen=True)
class BaseTokenizer:
    """A folder with tokenizer.json, as the base model's owner published it."""

    folder: Path

    @cached_property
    def control_tokens(self) -> dict[str, int]:
        """Id by text of every token that steers the model: the special ones, and those its chat template writes."""
        content = (self.folder / "tokenizer.json").read_bytes()
        added = msgspec.json.decode(content, type=_TokenizerFile).added_tokens
        template = self.template
        return {
            token.content: token.id
            for token in added
            if not token.content.isalnum() and token.content.strip() and (token.special or token.content in template)
        }

    @cached_property
    def template(self) -> str:
        """The chat template in force, its clock pinned; empty where there is none."""
        return pinned(self.published_template)

    @cached_property
    def published_template(self) -> str:
        """The chat template as its owner wrote it; empty where there is none."""
        file = self.folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text(encoding="utf-8")
        template = self._config.get("chat_template")
        if isinstance(template, list):  # several by name; transformers takes this one when none is asked for
            named = [one for one in template if isinstance(one, dict) and one.get("name") == "default"]
            template = named[0].get("template") if named else None
        return template if isinstance(template, str) else ""

    @cached_property
    def _config(self) -> dict[str, Any]:
        # What the configuration does not say, older tokenizers say in the other file.
        files = [self.folder / name for name in ("special_tokens_map.json", "tokenizer_config.json")]
        values: dict[str, Any] = {}
        for file in files:
            if file.is_file():
                values |= msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        return values

    def named(self, name: str) -> str:
        """The text of bos_token, eos_token …; empty where the tokenizer has none."""
        value = self._config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        return value if isinstance(value, str) else ""

    def render(self, messages: list[dict[str, str]], options: dict[str, Any], ask: bool = False) -> str:
        """The conversation through the chat template, as transformers renders it; `ask` ends where an answer begins.

        Raises jinja2.TemplateError where the template refuses it or uses what only transformers offers.
        """
        values = {name: self.named(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
        return self._compiled.render(
            messages=messages, add_generation_prompt=ask, tools=None, documents=None, **values, **options
        )

    @cached_property
    def _compiled(self) -> Any:
        from jinja2.exceptions import TemplateError

        if lots := drawn(self.template):
            raise TemplateError(draws(lots))
        return _environment().from_string(self.template)


def _environment() -> Any:
    """Sandboxed like transformers' own (utils/chat_template_utils.py): a template is code from a model repository."""
    import json

    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = DAY.strftime
    return environment


def find_base_tokenizer(project: Project) -> BaseTokenizer | None:
    """The tokenizer of the configured base model at its revision: that of configs/tokenizer, else that on this disk."""
    folder = committed_folder(project)
    return BaseTokenizer(folder) if folder else tokenizer_on_disk(project)


def tokenizer_on_disk(project: Project) -> BaseTokenizer | None:
    """The tokenizer beside the weights in models/base or in the Hub's cache; never downloads.

    The cache is where HF_HUB_CACHE or HF_HOME says, else ~/.cache/huggingface.
    """
    base, paths = project.training.base_model, project.paths
    if base.id.startswith("models/base/"):
        folders = [paths.root / base.id]
    else:
        folders = []
        unpacked = paths.base / base.id.split("/")[1]
        manifest = read_manifest(unpacked / MANIFEST)
        if manifest and manifest.facts.get("id") == base.id:
            folders.append(unpacked)
        cache = _hub_cache() / f"models--{base.id.replace('/', '--')}"
        pointer = cache / "refs" / base.revision
        commit = pointer.read_text(encoding="ascii").strip() if pointer.is_file() else base.revision
        folders.append(cache / "snapshots" / commit)
    return next((BaseTokenizer(folder) for folder in folders if (folder / "tokenizer.json").is_file()), None)


def _hub_cache() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
