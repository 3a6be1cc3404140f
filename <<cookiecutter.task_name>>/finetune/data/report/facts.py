"""What the data report says in words, the same in Markdown, HTML and the comment.

The sentences hold numbers and our own words only. Whatever comes from the data or a configuration stands apart, so that
each renderer makes it harmless in its own way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from finetune.data.check_results import RowCheck
from finetune.data.report.schema import (
    DataReport,
    Histogram,
    Languages,
    Lengths,
    NearDuplicates,
    Stratification,
)
from finetune.data.splits import SPLITS
from finetune.errors import Problem

SHOWN = 50
"""Problems that are listed."""
_OF_A_KIND = 3
NOT_CHECKED = "NOT CHECKED"
NO_RESULT = "the report holds no result of it"
_CHECKS = {
    "control_tokens": "control tokens of the base model",
    "template_proof": "control tokens, counted in the template",
    "personal_data": "personal data",
    "token_lengths": "length in tokens",
}
Kind = Literal["plain", "copy", "wrong"]
_LEVELS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Check:
    """A row of the table of checks; `reason` is another's text, everything else ours, but for an unknown `name`."""

    name: str
    done: bool
    found: str = ""
    reason: str = ""
    known: bool = True


def checks(report: DataReport) -> list[Check]:
    """Every check that can be left out, the known ones also where the report does not mention them."""
    rows = [_row_check(key, name, report.row_checks.get(key)) for key, name in _CHECKS.items()]
    rows += [_row_check(key, key, row, known=False) for key, row in report.row_checks.items() if key not in _CHECKS]
    near = report.duplicates.near
    if isinstance(near, NearDuplicates):
        rows.append(Check("near-duplicates", True, _near_found(near)))
    else:
        rows.append(Check("near-duplicates", False, reason=(near and near.reason) or NO_RESULT))
    if report.languages is None:
        rows.append(Check("language and script", False, reason=NO_RESULT))
    else:
        rows.append(Check("language and script", True, f"{count(report.languages.rows, 'row')} looked at"))
    if report.classes:
        if report.stratification is None:
            rows.append(Check("share of every class per split", False, reason=NO_RESULT))
        else:
            found = off_sentence(report.stratification)
            rows.append(Check("share of every class per split", True, found))
    return rows


def off_sentence(found: Stratification) -> str:
    return f"{count(len(found.off), 'share')} off by more than chance explains"


def not_checked(report: DataReport) -> int:
    return sum(not check.done for check in checks(report))


def nothing_wrong(report: DataReport) -> str:
    """What to say where no problem was found: only as much as was looked for."""
    skipped = not_checked(report)
    return f"Nothing, as far as it was checked: {count(skipped, 'check')} not done." if skipped else "Nothing."


def _row_check(key: str, name: str, row: RowCheck | None, known: bool = True) -> Check:
    if row is None or row.status == "skipped":
        return Check(name, False, reason=(row and row.reason) or NO_RESULT, known=known)
    return Check(name, True, _row_found(key, row), known=known)


def _row_found(key: str, row: RowCheck) -> str:
    if key == "control_tokens" and row.names is not None:
        return f"{count(row.names, 'token')} looked for in every text"
    if key == "template_proof" and row.rows is not None and row.template_tokens is not None:
        return f"{count(row.rows, 'row')} in the model's template, which holds {row.template_tokens:,} itself"
    if key == "personal_data" and row.texts is not None:
        return f"{count(row.texts, 'text')} with what looks like it" + (f" ({row.policy})" if row.policy else "")
    if key == "token_lengths" and row.limit is not None:
        parts = [f"longest {row.longest:,} of {row.limit:,}"] if row.longest is not None else []
        parts += [f"{count(row.over or 0, 'row')} above {row.limit:,}"]
        parts += [f"template {row.template:,}"] if row.template is not None else []
        parts += [f"{count(row.tokenised, 'row')} tokenised"] if row.tokenised is not None else []
        return ", ".join(parts)
    return ""


def _near_found(near: NearDuplicates) -> str:
    start = f"similarity from {near.threshold:g}: " if near.threshold is not None else ""
    return f"{start}{count(near.rows, 'row')}"


def duplicate_counts(report: DataReport) -> list[tuple[str, int, Kind]]:
    """(what, rows, kind): different inputs first, then every kind of copy."""
    found, near = report.duplicates, report.duplicates.searched
    rows: list[tuple[str, int, Kind]] = [
        ("different inputs", max(0, report.rows.accepted - found.exact - found.conflicting), "plain"),
        ("exact copies of an earlier row", found.exact, "copy"),
        ("copies with another answer", found.conflicting, "wrong"),
    ]
    if near is not None:
        rows.append(("rows with a near-duplicate", near.rows, "copy"))
        rows.append(("near-duplicates left out", near.left_out.train + near.left_out.valid, "copy"))
    return rows


def near_sentences(near: NearDuplicates | None) -> list[str]:
    """What near-duplicates do to the splits; nothing where they were not looked for."""
    if near is None:
        return []
    if not near.rows:
        return ["No row has a near-duplicate."]
    said, left = [], near.left_out
    if left.train or left.valid:
        said.append(
            f"Step 02 leaves out {count(left.train, 'row')} of train and {left.valid:,} of valid, "
            "whose near-duplicate lies in a later split."
        )
    if near.other_answer:
        said.append(f"In {count(near.other_answer, 'pair')} across splits the answers differ.")
    return said or [f"{count(near.rows, 'row')} with a near-duplicate."]


def language_sentences(languages: Languages) -> list[str]:
    """What is unusual about the scripts of the rows."""
    said = [f"{count(languages.mixed, 'row')} of {languages.rows:,} mix scripts."] if languages.mixed else []
    if languages.simplified:
        said.append(f"{count(languages.simplified, 'row')} with characters of Simplified Chinese only.")
    return said


def scripts(languages: Languages) -> list[tuple[str, int]]:
    """(script, rows), the commonest first; scripts without a row are left out."""
    return sorted(((name, rows) for name, rows in languages.scripts.items() if rows), key=lambda item: -item[1])


def limit_sentence(histogram: Histogram | None, lengths: Lengths | None) -> str:
    """How far the longest row is from the limit; empty without a limit or rows."""
    if histogram is None or histogram.limit is None or lengths is None or not histogram.bins:
        return ""
    limit = histogram.limit
    if lengths.max > limit:
        over = sum(rows for low, _, rows in histogram.bins if low > limit)
        more = f", with at least {count(over, 'row')}" if over else ""
        return f"The longest is above the limit of {limit:,}{more}."
    times = limit / max(1, lengths.max)
    return f"The limit is {limit:,}" + (f", {times:.1f} times the longest." if times >= 1.5 else ".")


def sparkline(histogram: Histogram | None) -> str:
    """The histogram in one line of blocks; a dot is an empty bin."""
    rows = [rows for _, _, rows in histogram.bins] if histogram else []
    most = max(rows, default=0)
    # Rounded up, so that no bin with a row looks empty.
    return "".join(_LEVELS[-(-n * len(_LEVELS) // most) - 1] if n else "·" for n in rows) if most else ""


def row_sentence(report: DataReport) -> str:
    """How many rows can be read, and where they go."""
    rows = report.rows
    usable = "All rows can be read" if rows.accepted == rows.read else f"{count(rows.accepted, 'row')} can be read"
    planned = f", {rows.expected:,} are planned" if rows.accepted < rows.expected else ""
    left = f"; {rows.left_out:,} are left out as near-duplicates" if rows.left_out else ""
    return f"{usable}{planned}{left}."


def problem_kinds(codes: list[str]) -> list[tuple[str, int]]:
    """(code, how many), the commonest eight."""
    return Counter(codes).most_common(8)


def first_problems(problems: Sequence[Problem]) -> list[Problem]:
    """SHOWN of the problems in their order: some of every kind, so that a frequent one hides no rare one."""
    of_kind = Counter[str]()
    chosen: list[int] = []
    others: list[int] = []
    for place, problem in enumerate(problems):
        of_kind[problem.code] += 1
        (chosen if of_kind[problem.code] <= _OF_A_KIND else others).append(place)
    places = chosen[:SHOWN] + others[: max(0, SHOWN - len(chosen))]
    return [problems[place] for place in sorted(places)]


def split_rows(report: DataReport) -> list[tuple[str, int]]:
    """(split, rows), and the rows that are left out where there are any."""
    rows: list[tuple[str, int]] = [(split, getattr(report.rows, split)) for split in SPLITS]
    return [*rows, ("left out", report.rows.left_out)] if report.rows.left_out else rows


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"
