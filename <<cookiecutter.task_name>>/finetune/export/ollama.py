"""What Ollama needs beside the GGUF: a Modelfile, and template, system and params, which `ollama run hf.co/…` reads.

Ollama's templates are Go's, the model's is Jinja. The Go template is not translated but derived: the chat template is
rendered with sentinels as contents, what stands between them is taken over literally, and the result is executed on
further conversations and compared with the chat template byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from finetune import provenance
from finetune.config.project import Project
from finetune.console import say
from finetune.errors import FinetuneError
from finetune.evaluation.completions import Message
from finetune.evaluation.llama_child import LlamaChild, RuntimeFault
from finetune.export.go_template import execute, literal
from finetune.export.modelfile import compose, quotable

Render = Callable[[list[Message]], str]
_SYSTEM, _USER, _ANSWER, _NEXT = "SENTINELSYSTEM", "SENTINELUSER", "SENTINELANSWER", "SENTINELNEXT"
_FIX = "use a base model whose chat template treats every message alike, or publish without Ollama files"

TEXTS = (
    "plain",
    'quotes " and """ and \\ and \'',
    "{{ .System }} {{ if }} {% x %}",
    "first line\n\n  second line",
    "全形　空格，標點 🙂 e\u0301",
    "<|im_end|> user system",
)
"""Contents of the conversations on which a derived template is proven."""


def write_ollama_files(project: Project, default: Path, eos_ids: Collection[int]) -> list[Path]:
    """Write the four files beside `default`, the GGUF that Ollama gets unless told otherwise; returns their paths.

    Raises FinetuneError when the chat template cannot be expressed (E531, E532) or the Modelfile cannot hold it (E530).
    """
    from finetune.data.chat_format import prompt_text, system_text, template_options
    from finetune.training.base_model import load_tokenizer, resolve_base

    tokenizer = load_tokenizer(resolve_base(project))
    options = template_options(project.training)
    system = system_text(project.task)
    bos = tokenizer.bos_token if adds_bos(default) else None

    def render(messages: list[Message]) -> str:
        # The runtime puts BOS before every prompt of such a model; written in the template too, it would come twice.
        return prompt_text(tokenizer, messages, options).removeprefix(bos or "")

    in_modelfile = quotable(system)
    if not in_modelfile:
        say("  the system prompt has characters that Modelfiles drop: it stands in the template as the default instead")
    template = derive(render, None if in_modelfile else system)
    prove(template, render, system, None if in_modelfile else system)
    if _trims(render):
        say("  note: the chat template trims messages, Ollama's does not: send texts without outer white space")
    stops = [str(tokenizer.convert_ids_to_tokens(token)) for token in sorted(eos_ids)]
    parameters = _parameters(project, stops)
    commands = [("FROM", f"./{default.name}"), ("TEMPLATE", template)]
    commands += [("SYSTEM", system)] if in_modelfile else []
    for name, value in parameters.items():
        commands += [(f"PARAMETER {name}", str(item)) for item in (value if isinstance(value, list) else [value])]
    folder = default.parent
    written = {name: folder / name for name in ("Modelfile", "template", "system", "params")}
    provenance.write_text(written["Modelfile"], compose(commands))
    provenance.write_text(written["template"], template)
    provenance.write_text(written["system"], system)
    provenance.write_json(written["params"], parameters)
    return list(written.values())


def _parameters(project: Project, stops: list[str]) -> dict[str, Any]:
    """Decoding as it was measured; by default Ollama samples at 0.8, older versions with a penalty, and never stops."""
    return {
        "temperature": 0,
        "repeat_penalty": 1,
        "num_ctx": project.benchmark.generation.context,
        "num_predict": project.task.output.max_new_tokens,
        "stop": stops,
    }


def adds_bos(path: Path) -> bool:
    """Whether llama.cpp, and so Ollama, puts BOS before each prompt; ModelFault (E470, E48x) if it cannot load it."""
    child = LlamaChild(path)
    try:
        return child.vocabulary().add_bos
    except RuntimeFault as fault:
        raise fault.shown() from None
    finally:
        child.close()


def derive(render: Render, default_system: str | None = None) -> str:
    """The Go template that renders as `render` does: what precedes a message's content depends on its role and place.

    `default_system` is put in where a conversation has no system message, instead of what the chat template says then.
    FinetuneError (E531) when some text between two contents depends on more than role and place.
    """
    system = {"role": "system", "content": _SYSTEM}
    first = {"role": "user", "content": _USER}
    more = [first, {"role": "assistant", "content": _ANSWER}, {"role": "user", "content": _NEXT}]
    before_system, after_system, end = _between(render([system, first]), _SYSTEM, _USER)
    before_user, end_without = _between(render([first]), _USER)
    with_system = _between(render([system, *more]), _SYSTEM, _USER, _ANSWER, _NEXT)
    without = _between(render(more), _USER, _ANSWER, _NEXT)
    before_answer, before_next = with_system[2:4]
    if with_system != [before_system, after_system, before_answer, before_next, end]:
        raise FinetuneError("the chat template renders the first turn differently when more follow", _FIX, "E531")
    if without != [before_user, before_answer, before_next, end] or end_without != end:
        raise FinetuneError("the chat template renders turns differently without a system message", _FIX, "E531")
    if default_system is not None:
        before_user = before_system + default_system + after_system
    branches = [
        '{{ if eq .Role "system" }}' + literal(before_system),
        '{{ else if eq .Role "assistant" }}' + literal(before_answer),
        "{{ else if eq $i 0 }}" + literal(before_user),
    ]
    if after_system != before_next:
        branches.append("{{ else if eq $i 1 }}" + literal(after_system))
    branches.append("{{ else }}" + literal(before_next) + "{{ end }}")
    return "{{ range $i, $_ := .Messages }}" + "".join(branches) + "{{ .Content }}{{ end }}" + literal(end)


def _between(rendered: str, *sentinels: str) -> list[str]:
    """What stands before, between and after the sentinels, each of which must occur exactly once and in order."""
    parts = []
    rest = rendered
    for sentinel in sentinels:
        if rendered.count(sentinel) != 1 or sentinel not in rest:
            raise FinetuneError("the chat template repeats, drops or reorders messages", _FIX, "E531")
        before, _, rest = rest.partition(sentinel)
        parts.append(before)
    return [*parts, rest]


def prove(template: str, render: Render, system: str, default_system: str | None = None) -> int:
    """Compare the Go template with the chat template on conversations of every shape; returns how many were compared.

    FinetuneError (E532) at the first difference.
    """
    count = 0
    for conversation in conversations(system):
        asked = conversation
        if default_system is not None and conversation[0]["role"] != "system":
            asked = [{"role": "system", "content": default_system}, *conversation]
        if execute(template, conversation) != render(asked):
            roles = ", ".join(message["role"] for message in conversation)
            message = f"the derived Go template renders a conversation of {roles} unlike the chat template"
            raise FinetuneError(message, _FIX, "E532")
        count += 1
    return count


def conversations(system: str) -> list[list[Message]]:
    """With the task's system prompt, another and none; one turn and several; contents that look like syntax."""
    shapes: list[list[Message]] = []
    for number, text in enumerate(TEXTS):
        turns = _turns([text, *TEXTS[number:], *TEXTS[:number]][: 1 + 2 * (number % 3)])
        for opening in ([system], [text], []):
            shapes.append([*({"role": "system", "content": content} for content in opening), *turns])
            shapes.append([*({"role": "system", "content": content} for content in opening), *turns[:1]])
    return shapes


def _turns(contents: Sequence[str]) -> list[Message]:
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


def _trims(render: Render) -> bool:
    """Whether white space around a user's text is lost."""
    return f" \n{_USER}\n " not in render([{"role": "user", "content": f" \n{_USER}\n "}])
