"""Before anything is written: every problem with the answers at once, each with its rule and an accepted example.

Rendered once by cookiecutter (the literal below), otherwise plain Python: import it and call `find_problems`.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

ANSWERS = r"""<< cookiecutter | jsonify >>"""

Answers = dict[str, Any]

HUB_ID_LIMIT = 96
LONGEST_SUFFIX = "-lora"
RESERVED = {*keyword.kwlist, *keyword.softkwlist, "con", "prn", "aux", "nul", "finetune", "rejected-answers"}
DEVICE = re.compile(r"(com|lpt)[0-9]")
TASK_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAMESPACE = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
OWNER = r"@[A-Za-z0-9]+(-[A-Za-z0-9]+)*(/[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*)?"
OWNERS = re.compile(rf"{OWNER}( {OWNER}){{0,9}}")
THRESHOLD = re.compile(r"0\.[0-9]{1,6}|1(\.0{1,6})?")
NAME_SIGNS = " _-./&()+"
NEVER_IN_TEXT = "<>{}"


def find_problems(answers: Answers) -> list[str]:
    """One line a problem: `variable: value: rule. For example: …`; empty when the answers can be baked."""
    checks = (_task_name, _description, _labels, _metric, _threshold, _hub_namespace, _code_owners)
    return [problem for check in checks for problem in check(answers)]


def parse_labels(text: str) -> list[tuple[str, str]]:
    """`name: description; name: description` as pairs; a part without colon has an empty description."""
    parts = [part.partition(":") for part in text.split(";") if part.strip()]
    return [(name.strip(), description.strip()) for name, _, description in parts]


def _task_name(answers: Answers) -> Iterator[str]:
    name = str(answers.get("__asked_name", answers["task_name"]))
    if not TASK_NAME.fullmatch(name) or not 2 <= len(name) <= 63:
        rule = "2 to 63 lower case English letters, digits and single hyphens, a letter first"
        yield _problem("task_name", name, rule, "ticket-router")
    elif name in RESERVED or DEVICE.fullmatch(name):
        yield _problem("task_name", name, "must not be a word reserved by Python or Windows", f"{name}-task")


def _description(answers: Answers) -> Iterator[str]:
    text = str(answers["description"])
    example = "Route a customer's message to the team that answers it"
    if fault := _text_fault(text, 200):
        yield _problem("description", text, fault, example)


def _labels(answers: Answers) -> Iterator[str]:
    text, task_type = str(answers["labels"]), str(answers["task_type"])
    if task_type == "generation":
        if text.strip() != "-":
            yield _problem("labels", text, "generation has no labels", "-")
        return
    sample = answers["_samples"][task_type][answers["language"]]["labels"]
    pairs = parse_labels(text)
    faults = list(_label_faults(text, pairs, 2 if task_type == "classification" else 1))
    for fault in faults:
        yield _problem("labels", text, fault, "; ".join(sample.split("; ")[:2]))
    wanted, given = {name for name, _ in parse_labels(sample)}, {name for name, _ in pairs}
    if answers["sample_data"] and not faults and given != wanted:
        yield _problem(
            "sample_data", "true", f"the sample data knows only {', '.join(sorted(wanted))}, "
            f"but labels asks for {', '.join(sorted(given))}", "sample_data=no, or leave labels as it is",
        )  # fmt: skip


def _label_faults(text: str, pairs: list[tuple[str, str]], least: int) -> Iterator[str]:
    """What is wrong with the list as a whole and with each name and description."""
    if "\uff1a" in text and ":" not in text:
        yield "write the half-width signs : and ; between names and descriptions"
        return
    if len(pairs) < least:
        yield f"at least {least} 'name: description', separated by semicolons"
    seen: set[str] = set()
    for name, description in pairs:
        shown = ascii(name[:40])
        if not description:
            yield f"{shown} has no description, and commas do not separate: write 'name: description; …'"
        elif fault := _text_fault(description, 300):
            yield f"the description of {shown}: {fault}"
        elif re.search(r":(\s|$)", description):
            yield f"the description of {shown} holds a second colon: separate labels by semicolons"
        if not name or len(name) > 64 or not all(_is_letter(sign) or sign in NAME_SIGNS for sign in name):
            yield f"{shown} is no label name: 1 to 64 letters, digits, spaces and {NAME_SIGNS.strip()}"
        if name.casefold() in seen:
            yield f"{shown} is named twice; names must differ in more than letter case"
        seen.add(name.casefold())


def _metric(answers: Answers) -> Iterator[str]:
    known = answers["_metrics"][answers["task_type"]]
    if answers["primary_metric"] not in known:
        rule = f"for {answers['task_type']} one of {', '.join(known)}"
        yield _problem("primary_metric", answers["primary_metric"], rule, known[0])


def _threshold(answers: Answers) -> Iterator[str]:
    text = str(answers["threshold"])
    if not THRESHOLD.fullmatch(text) or float(text) == 0:
        yield _problem("threshold", text, "a decimal number above 0 and at most 1", "0.80")


def _hub_namespace(answers: Answers) -> Iterator[str]:
    namespace = str(answers["hub_namespace"])
    if not NAMESPACE.fullmatch(namespace):
        rule = "English letters, digits and single - . _ between them, as on huggingface.co"
        yield _problem("hub_namespace", namespace, rule, "your-namespace")
        return
    longest = f"{namespace}/{answers.get('__asked_name', answers['task_name'])}{LONGEST_SUFFIX}"
    if len(longest) > HUB_ID_LIMIT:
        rule = f"with task_name it makes a repository id of {len(longest)} characters, the Hub allows {HUB_ID_LIMIT}"
        yield _problem("hub_namespace", namespace, rule, "a shorter namespace or task_name")


def _code_owners(answers: Answers) -> Iterator[str]:
    owners = str(answers["code_owners"])
    if not OWNERS.fullmatch(owners) or max(len(part) for part in re.split("[ /]", owners)) > 100:
        rule = "one to ten GitHub users or teams, each as @user or @organisation/team, single spaces between"
        yield _problem("code_owners", owners, rule, "@your-org/maintainers")


def _text_fault(text: str, limit: int) -> str | None:
    """Why `text` is no plain line of prose, or None. jsonify splits non-BMP characters, so they are refused."""
    if not text.strip() or len(text) > limit:
        return f"must be 1 to {limit} characters"
    for sign in text:
        category = unicodedata.category(sign)
        if ord(sign) > 0xFFFF or 0xD800 <= ord(sign) <= 0xDFFF:
            return f"emoji and other characters above U+FFFF are not allowed (U+{ord(sign):04X})"
        if category in ("Cc", "Cf", "Co", "Cn", "Zl", "Zp"):
            return f"line breaks, control, direction and invisible characters are not allowed (U+{ord(sign):04X})"
        if sign in NEVER_IN_TEXT:
            return f"the signs {' '.join(NEVER_IN_TEXT)} are not allowed: they mean something to templates"
    return None


def _is_letter(sign: str) -> bool:
    """Letters, marks and digits of any script, up to U+FFFF."""
    return ord(sign) <= 0xFFFF and unicodedata.category(sign)[0] in "LMN"


def _problem(variable: str, value: object, rule: str, example: str) -> str:
    text = str(value)
    shown = ascii(text if len(text) <= 60 else text[:57] + "...")
    return f"{variable}: {shown}: {rule}. For example: {example}"


def main() -> int:
    problems = find_problems(json.loads(ANSWERS))
    if not problems:
        return 0
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    print("The answers cannot be used; nothing has been written:", file=sys.stderr)
    for problem in problems:
        print(f"  - {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
