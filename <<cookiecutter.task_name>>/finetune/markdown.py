"""Other people's text in Markdown: inert, fenced, in a table's cell, and short enough for GitHub to take.

The one home of these rules: reports, comments, cards, README and CHECKLIST.md write text of data, models and names
through it. README's first table is also written by the generator, whose markdown.jinja has `code` in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

CHARACTERS = 60_000
"""GitHub refuses a comment above 65,536 characters with 422."""
BYTES = 200_000
"""It stores 262,144 bytes: 65,536 characters of four bytes each."""
# GitHub looks for mentions, issues, addresses and emoji after the entities are decoded: only a sign between parts them.
_LINKING = re.compile(r"(?i)[@#]|:(?=//)|:(?=(?:[+-]1|100|1234|[\w+-]*[a-z][\w+-]*):)|www(?=\.)|GH(?=-\d)")
# An underscore inside a word is no markup, and metric names stay readable. Lists and underlines begin a line.
_ACTING = re.compile(r"[&<>@#`*\[\]|\\~!$]|(?<![^\W_])_|_(?![^\W_])|^[-+](?!\S)|^[-=:](?=[-=: ]*$)")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?!\S)")
_IN_ELEMENT = re.compile(r"[!-/:-@\[-`{-~]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"#{1,6} ")


def one_line(text: object) -> str:
    """`text` with control characters, line separators and direction overrides spelled out."""
    return "".join(c if c.isprintable() else {"\n": "⏎", "\t": " "}.get(c, f"\\u{ord(c):04x}") for c in str(text))


def plain(text: object) -> str:
    """`text` on one line with nothing that Markdown or GitHub acts on: markup, HTML, mentions, issue links, URLs."""
    parted = _LINKING.sub(lambda match: match[0] + "\u200b", one_line(text).strip())
    escaped = _ACTING.sub(lambda match: f"&#{ord(match[0])};", parted)
    return _NUMBERED.sub(lambda match: f"{match[1]}&#{ord(match[2])};", escaped)


def code(text: object, bar: str = "∣") -> str:
    """`text` on one line as inline code, safe in a table too; the delimiter outlasts any run of backticks.

    A cell ends at a bar even inside code, and an escape of it shows outside a table: its look-alike does neither. Who
    knows that this is a cell has the sign itself with `bar="\\\\|"`.
    """
    inner = " ".join(one_line(text).split()).replace("|", bar) or " "
    ticks = "`" * (_longest_run(inner) + 1)
    pad = " " if inner.startswith("`") or inner.endswith("`") else ""
    return f"{ticks}{pad}{inner}{pad}{ticks}"


def code_element(text: object) -> str:
    """`text` as a code element with every sign an entity, for files in which we look for comments of our own."""
    inner = _IN_ELEMENT.sub(lambda match: f"&#{ord(match[0])};", " ".join(one_line(text).split()))
    return f"<code>{inner}</code>"


def fenced(text: object, info: str = "text") -> str:
    """`text` as a code block no text can end; controls, direction marks and zero-width signs are spelled out."""
    lines = [one_line(line) for line in str(text).split("\n")]
    ticks = "`" * max(3, _longest_run("\n".join(lines)) + 1)
    return "\n".join([f"{ticks}{info}", *lines, ticks])


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], left: int | None = None) -> list[str]:
    """Lines of a GitHub table; its cells must be safe already.

    With `left`, so many columns and those without a head stand left, and the others, numbers, right.
    """
    sides = ["---" if left is None else ":---" if n < left or not head else "---:" for n, head in enumerate(heads)]
    cells = ([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows)
    return [f"| {' | '.join(row)} |" for row in (heads, sides, *cells)]


def folded(title: str, text: str) -> str:
    """`text` behind a line to click on; both must be safe already."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def split_sections(markdown: str) -> list[str]:
    """`markdown` cut before every heading that stands in no code block and in no <details>."""
    sections: list[list[str]] = [[]]
    fence, folds = "", 0
    for line in markdown.split("\n"):
        if not fence and not folds and _HEADING.match(line) and any(sections[-1]):
            sections.append([])
        fence = _fence_after(line, fence)
        folds = _folds_after(line, folds) if not fence else folds
        sections[-1].append(line)
    return [text for section in sections if (text := "\n".join(section).strip("\n"))]


def limited(
    sections: Sequence[str], *, characters: int = CHARACTERS, size: int = BYTES, link: str, where: str = "step summary"
) -> str:
    """The sections as one text of at most `characters` characters and `size` bytes (UTF-8).

    Whole sections are dropped from the end, with a note of how many and `link` to `where` all is. Only the first is
    cut when it alone is too long: at the end of a line, with its code block and folds closed.
    """
    texts = [text for section in sections if (text := _clean(section)).strip()]
    if _kept(texts, characters, size) == len(texts):
        return "\n\n".join(texts)
    place = f"[{where}]({link})" if link else where
    longest = _note(len(texts), place, cut=True)
    room = characters - len(longest) - 2, size - len(longest.encode()) - 2
    kept = _kept(texts, *room)
    if not kept:
        return "\n\n".join([_clipped(texts[0], *room), _note(len(texts) - 1, place, cut=True)])
    return "\n\n".join([*texts[:kept], _note(len(texts) - kept, place)])


def _clean(section: str) -> str:
    # A lone surrogate cannot be sent, and Markdown ends a line at a carriage return too.
    return section.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")


def _kept(texts: Sequence[str], characters: int, size: int) -> int:
    """How many of the first texts fit, joined by an empty line."""
    for number, text in enumerate(texts):
        characters -= len(text) + (2 if number else 0)
        size -= len(text.encode()) + (2 if number else 0)
        if characters < 0 or size < 0:
            return number
    return len(texts)


def _note(dropped: int, place: str, cut: bool = False) -> str:
    parts = ["This section is cut."] if cut else []
    if dropped:
        parts.append(f"{dropped} further section{'s' if dropped != 1 else ''} left out.")
    return f"_{' '.join(parts)} All of it: {place}._"


def _clipped(text: str, characters: int, size: int) -> str:
    """As many whole lines of `text` as fit, with what they leave open closed."""
    fence, folds = "", 0
    length = weight = -1
    end, tail = 0, ""
    for line in text.split("\n"):
        fence = _fence_after(line, fence)
        folds = _folds_after(line, folds) if not fence else folds
        length, weight = length + len(line) + 1, weight + len(line.encode()) + 1
        closing = (f"\n{fence}" if fence else "") + "\n\n</details>" * folds
        if length + len(closing) > characters or weight + len(closing) > size:
            break
        end, tail = length, closing
    if end:
        return text[:end] + tail
    # One endless line: shown as it is written, since a cut inside it could leave markup open.
    begin = text[:characters]
    while begin and (len(fenced(begin)) > characters or len(fenced(begin).encode()) > size):
        begin = begin[: len(begin) // 2]
    return fenced(begin)


def _fence_after(line: str, fence: str) -> str:
    """The code fence that is open after `line`, or ""."""
    found = _FENCE.match(line)
    if not fence:
        # A backtick fence with a backtick in its info string is inline code.
        return found[1] if found and not (found[1][0] == "`" and "`" in line[found.end() :]) else ""
    closes = found and found[1][0] == fence[0] and len(found[1]) >= len(fence) and not line[found.end() :].strip()
    return "" if closes else fence


def _folds_after(line: str, folds: int) -> int:
    if line.startswith("<details"):
        return folds + 1
    return folds - 1 if folds and line.startswith("</details>") else folds
