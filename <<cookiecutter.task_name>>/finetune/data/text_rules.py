"""What a text may hold, how texts are compared, and how a text is shown in a message."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator

from finetune import characters

Report = Callable[[str, str, str], None]
"""Called with (code, message, fix) for each finding."""

_MAY_OPEN = re.compile("[<\\[\uff1c\ufe64\uff3b]")
_CONTROL_TOKEN = re.compile(
    r"<\|[^\s|<>]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask)>|</?think>"
    r"|</?tool_call>|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
)
_SECRETS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})",
    "an AWS access key": r"\bAKIA[0-9A-Z]{16}\b",
    "an API key": r"\bsk-[A-Za-z0-9_-]{32,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
_MAY_BE_SECRET = re.compile("hf_|gh[pousr]_|github_pat_|AKIA|sk-|PRIVATE KEY")
_SECRET = re.compile("|".join(_SECRETS.values()))


def normalise(text: str) -> str:
    """`text` as it is compared: without what nobody sees, in compatible forms, case folded, white space as one space.

    Two records with equal normalised inputs are the same example, and always lie in the same split.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    # Case folding can undo the normal form (U+0345), hence the second pass.
    return " ".join(unicodedata.normalize("NFKC", characters.compatible(text).casefold()).split())


def normalise_all(texts: list[str]) -> list[str]:
    """`normalise` of every text; quicker, because texts that are normal but for their case need no splitting."""
    return [
        # ASCII whose only white space is single spaces between words
        text.lower()
        if text.isascii() and text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " "
        else normalise(text)
        for text in texts
    ]


def input_key(text: str) -> bytes:
    """The sha256 (32 bytes) of the normalised input: identity of an example for ids, duplicates and splits."""
    return input_digest(normalise(text))


def input_digest(normalised: str) -> bytes:
    """`input_key` of a text that is normalised already."""
    return hashlib.sha256(normalised.encode("utf-8")).digest()


def check_text(text: str, field: str, report: Report) -> None:
    """Report what must not reach a model: control characters, hidden text, control tokens, secrets."""
    # Most rows pass on three C-level tests; the findings are worked out only when one of them objects.
    if text.isascii():
        findings = [] if text.isprintable() else [*_control(text)]
    else:
        findings = [*_control(text), *_unicode(text)]
    if _MAY_OPEN.search(text):
        findings += _control_tokens(text)
    if _MAY_BE_SECRET.search(text):
        findings += _secrets(text)
    for code, message, fix in findings:
        report(code, f'field "{field}": {message}', fix)


def _control(text: str) -> Iterator[tuple[str, str, str]]:
    if found := characters.control(text):
        yield "E116", f"control character {_name(found[0])} at character {found.start() + 1}", "remove it"


def _unicode(text: str) -> Iterator[tuple[str, str, str]]:
    for code, sign, what in characters.hidden(text):
        yield code, f"{what}: {_name(sign)}", "remove it; the model reads it, people do not see it"
    if not unicodedata.is_normalized("NFC", text):
        yield "W118", "text is not in Unicode normal form NFC", "save it as NFC; it is trained as written"


def _control_tokens(text: str) -> Iterator[tuple[str, str, str]]:
    found = _CONTROL_TOKEN.search(characters.DROPPED.sub("", unicodedata.normalize("NFKC", text)))
    if found:
        yield "E130", f"control token {shown(found[0])} in the text", "remove or rewrite it; a chat model obeys it"


def _secrets(text: str) -> Iterator[tuple[str, str, str]]:
    for kind, pattern in _SECRETS.items():
        if re.search(pattern, text):
            yield "E141", f"what looks like {kind}", "revoke it, and remove it from the data and its history"


def shown(text: str, limit: int = 60) -> str:
    """`text` in double quotes for a message: one line, escaped, shortened, without secrets."""
    text = _SECRET.sub("[withheld]", text)
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    quoted = json.dumps(short, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in quoted)


def _name(character: str) -> str:
    return f"U+{ord(character):04X}"
