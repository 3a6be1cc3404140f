"""The executable checklist: every item of checklist.yaml decided by evidence, CHECKLIST.md written in two languages.

`auto` items are recomputed each time. The boxes of `ask` items, and the confirmation boxes of items with `confirm`,
belong to a person: a tick stays where it was put.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from finetune import remedies
from finetune.config.project import check_root
from finetune.console import guarded, say, table
from finetune.errors import GATE_FAILED, OK, BadInput, FinetuneError, Problems
from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, one_line
from finetune.evidence.readme import replace_task
from finetune.evidence.registry import EVIDENCE
from finetune.hints import for_smoke
from finetune.markdown import plain
from finetune.provenance import write_text

DATA = Path(__file__).with_name("checklist.yaml")
SIGNS = {"done": "✓", "open": "○", "failed": "✗"}
UNCHECKED = Finding("open", "not checked yet: run scripts/checklist.py")
_ITEM = re.compile(r"^- \[([ xX])\] (\d+\.\d+) ")
_CONFIRM = re.compile(r"^  - \[([ xX])\] (\d+\.\d+) ")


class Bilingual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same text twice."""

    zh: str
    en: str

    def __str__(self) -> str:
        return f"{self.zh} · {self.en}"


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the checklist."""

    id: str
    zh: str
    en: str
    kind: Literal["auto", "ask"]
    hint: str
    evidence: str | None = None
    """Name of the evidence function; auto items have one."""
    confirm: Bilingual | None = None
    """What a person must confirm besides the evidence."""

    @property
    def phase(self) -> int:
        return int(self.id.split(".")[0])


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: Bilingual
    items: list[Item]


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: int
    title: Bilingual
    sections: list[Section]
    output: str | None = None


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table below the list: nothing to tick."""

    title: Bilingual
    columns: list[str]
    rows: list[list[str]]


class Checklist(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of checklist.yaml."""

    version: int
    phases: list[Phase]
    reference: list[Reference]
    files: list[str]

    def items(self) -> Iterator[Item]:
        for phase in self.phases:
            for section in phase.sections:
                yield from section.items


@dataclass(frozen=True)
class Result:
    """What is known about one item."""

    id: str
    kind: str
    finding: Finding
    """The evidence alone; an ask item's is open with what to look at, or done once a person ticked it."""
    confirmed: bool | None = None
    """The person's box of an item that has one."""

    @property
    def status(self) -> str:
        """done needs the evidence and, where one is asked for, the person."""
        return "open" if self.finding.status == "done" and self.confirmed is False else self.finding.status


@dataclass(frozen=True)
class Ticks:
    """The boxes of an earlier CHECKLIST.md, by item id."""

    items: frozenset[str] = frozenset()
    confirmed: frozenset[str] = frozenset()


def load_checklist() -> Checklist:
    """The items as data; a wrong file is a bug of this repository and raises msgspec.ValidationError."""
    return msgspec.convert(yaml.safe_load(DATA.read_text(encoding="utf-8")), Checklist)


def read_ticks(text: str) -> Ticks:
    """Which boxes are ticked in a rendered checklist."""

    def ticked(pattern: re.Pattern[str]) -> frozenset[str]:
        found = (pattern.match(line) for line in text.splitlines())
        return frozenset(match[2] for match in found if match and match[1] != " ")

    return Ticks(ticked(_ITEM), ticked(_CONFIRM))


def evaluate(checklist: Checklist, facts: Facts, ticks: Ticks) -> dict[str, Result]:
    """Decide every item in order, so that the last phase can sum up the ones before it."""
    results = {}
    for item in checklist.items():
        if item.kind == "ask":
            finding = Finding("open", f"a person confirms: {item.hint}")
            if item.id in ticks.items:
                finding = Finding("done", "confirmed by a person")
        else:
            finding = _decide(item, facts)
        if facts.paths.smoke:
            finding = Finding(finding.status, for_smoke(finding.text))
        confirmed = item.id in ticks.confirmed if item.confirm else None
        result = results[item.id] = Result(item.id, item.kind, finding, confirmed)
        facts.found[item.id] = Finding(result.status, finding.text)  # type: ignore[arg-type]
    return results


def _decide(item: Item, facts: Facts) -> Finding:
    """Evidence that cannot be read proves the contrary of done, whatever is wrong with it."""
    try:
        return EVIDENCE[str(item.evidence)](facts)
    except MemoryError:
        raise  # says nothing about the evidence
    except Exception as damage:
        what = f"{type(damage).__name__} {damage}"
        return Finding("failed", one_line(f"the evidence is damaged ({what}); look at {item.hint}"))


def render(checklist: Checklist, results: dict[str, Result]) -> str:
    """CHECKLIST.md; without results the initial state. Only boxes and evidence lines depend on the results."""
    lines = [
        "# LLM 微調檢查清單 · LLM fine-tuning checklist",
        "",
        "由 `python scripts/checklist.py` 依證據填寫；只有標示「請人確認」的方框由人勾選。",
        "Written by `python scripts/checklist.py` from evidence; a person ticks only the boxes “a person confirms”.",
        "✓ done · ○ open · ✗ failed",
    ]
    for phase in checklist.phases:
        head = f"Phase {phase.id}: " if phase.id < 7 else ""
        lines += ["", f"## {head}{phase.title}"]
        for section in phase.sections:
            lines += ["", f"### {section.title}", ""]
            for item in section.items:
                lines += _item_lines(item, results.get(item.id, Result(item.id, item.kind, UNCHECKED, False)))
        if phase.output:
            lines += ["", f"**產出 · Output**: {phase.output}"]
    lines += ["", "## 快速參考 · Quick reference"]
    for reference in checklist.reference:
        lines += ["", f"### {reference.title}", "", _row(reference.columns), _row(["---"] * len(reference.columns))]
        lines += [_row(row) for row in reference.rows]
    return "\n".join(lines) + "\n"


def _item_lines(item: Item, result: Result) -> Iterator[str]:
    asked = "（請人確認 · a person confirms）" if item.kind == "ask" else ""
    yield f"- [{'x' if result.status == 'done' else ' '}] {item.id} {item.zh} · {item.en}{asked}"
    # A hint is our own words; evidence quotes names, labels and other people's errors.
    text = result.finding.text if item.kind == "ask" else plain(result.finding.text)
    yield f"  - {SIGNS[result.finding.status]} {text}"
    if item.confirm:
        yield f"  - [{'x' if result.confirmed else ' '}] {item.id} 請人確認 · a person confirms: {item.confirm}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def blocking(checklist: Checklist, results: dict[str, Result], phase: int) -> list[Result]:
    """The auto items of a phase whose evidence does not say done; what a person confirms does not block."""
    found = (results[item.id] for item in checklist.items() if item.phase == phase and item.kind == "auto")
    return [result for result in found if result.finding.status != "done"]


def update(root: Path, smoke: bool = False, check: int | None = None, as_json: bool = False) -> int:
    """Decide all items, rewrite CHECKLIST.md (a smoke run: below build/smoke/) and show what is open.

    A broken configuration is a finding, not an end. Returns 76 when `check` names a phase with an auto item that is not
    done. Raises FinetuneError (E910) for an unknown phase, BadInput (E247) where there is no task repository.
    """
    checklist = load_checklist()
    phases = [phase.id for phase in checklist.phases]
    if check is not None and check not in phases:
        raise FinetuneError(f"no phase {check}", f"one of {phases[0]} to {phases[-1]}", "E910")
    check_root(root)
    facts = Facts(root, smoke)
    target = facts.root / ("build/smoke/CHECKLIST.md" if smoke else "CHECKLIST.md")
    before = _written_before(target, facts.name(target))
    _write_readme(facts)
    results = evaluate(checklist, facts, read_ticks(before))
    text = render(checklist, results)
    if text != before:
        write_text(target, text)
    blockers = blocking(checklist, results, check) if check is not None else []
    if as_json:
        sys.stdout.write(json.dumps(_as_json(checklist, results), ensure_ascii=True) + "\n")
    else:
        _show(checklist, results)
        say(f"wrote {facts.name(target)}" if text != before else f"{facts.name(target)} is up to date")
    for result in blockers:
        say(f"  {SIGNS[result.finding.status]} {result.id} {result.finding.text}")
    if blockers:
        say(f"E976 phase {check}: {len(blockers)} items are not done. Fix: see the evidence lines above")
    return GATE_FAILED if blockers else OK


def _written_before(path: Path, shown: str) -> str:
    """The checklist as it is, with the ticks of people; BadInput (E105) rather than lose them."""
    try:
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n") if path.is_file() else ""
    except UnicodeDecodeError as bad:
        problems = Problems()
        line = bad.object.count(b"\n", 0, bad.start) + 1
        fix = "save the file as UTF-8, or remove it: it is written anew, without what people ticked"
        problems.add(shown, "E105", f"not UTF-8: 0x{bad.object[bad.start]:02x} at byte {bad.start + 1}", fix, line=line)
        raise BadInput(problems) from None


def _write_readme(facts: Facts) -> None:
    """README's table of the task, where it has one: the checklist would only ask for it."""
    path = facts.root / "README.md"
    if facts.project is None or facts.paths.smoke or not path.is_file():
        return
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return
    if (changed := replace_task(text, facts.project)) not in (text, None):
        write_text(path, changed)
        say("wrote README.md: its table is that of the configurations again")


def command(root: Path, smoke: bool = False, check: int | None = None, as_json: bool = False) -> int:
    """`update` with every failure turned into one message and its exit code."""
    remedies.use(root)
    return guarded(lambda: update(root, smoke, check, as_json), as_json=as_json)


def _as_json(checklist: Checklist, results: dict[str, Result]) -> dict[str, Any]:
    items = [
        {**asdict(results[item.id]), "status": results[item.id].status, "zh": item.zh, "en": item.en, "hint": item.hint}
        for item in checklist.items()
    ]
    return {"version": checklist.version, "items": items}


def _show(checklist: Checklist, results: dict[str, Result]) -> None:
    rows, total = [], Counter[str]()
    for phase in checklist.phases:
        counts = Counter(results[item.id].status for section in phase.sections for item in section.items)
        total += counts
        rows.append((f"{phase.id} {phase.title}", *(counts[status] for status in SIGNS)))
    table("Checklist", ("phase", *SIGNS), [*rows, ("all", *(total[status] for status in SIGNS))])
