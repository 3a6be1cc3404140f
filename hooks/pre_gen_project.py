"""Before anything is written: every problem with the answers at once, and a command with all answers to try again.

Rendered once by cookiecutter (the literal below), otherwise plain Python: import it and call `find_problems`.
"""

from __future__ import annotations

import json
import keyword
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
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
NEVER_IN_TEXT = "<>{}"
SEPARATORS = str.maketrans("：；", ":;")
COMMAS = str.maketrans("，、", ",,")
BY_FILE = "write task_definition.yaml instead, which takes any text: init_project.py"

TOO_OLD = """This template needs cookiecutter 2.6 or newer, and this one is older; nothing has been written. A new one:
  uvx cookiecutter …      or      pipx run cookiecutter …      or      python3 -m pip install --upgrade cookiecutter"""

QUESTIONS = (
    "task_name",
    "task_type",
    "language",
    "description",
    "labels",
    "primary_metric",
    "threshold",
    "preset",
    "hub_namespace",
    "code_owners",
    "license",
    "sample_data",
)
CALLERS = {"cookiecutter": ("--replay-file",), "cruft": ("--extra-context", "--extra-context-file", "-E")}
"""The programs that run this hook, and their options that give answers in another way."""


def find_problems(answers: Answers) -> list[str]:
    """One line a problem: `variable: value: rule. For example: …`; empty when the answers can be baked."""
    checks = (_task_name, _description, _labels, _metric, _threshold, _hub_namespace, _code_owners)
    return [problem for check in checks for problem in check(answers)]


def parse_labels(text: str, task_type: str = "classification") -> list[tuple[str, str]]:
    """`name: description; name: description` as pairs, with signs of either width.

    Labels without any semicolon may stand between commas, if each has its colon; entity types may not, for a single one
    is allowed. A part without colon has an empty description. templates/labels.jinja reads them in the same way.
    """
    flat, sign = text.translate(SEPARATORS), ";"
    if task_type == "classification" and ";" not in flat:
        commas = flat.translate(COMMAS)
        if all(":" in part for part in commas.split(",")):
            flat, sign = commas, ","
    pairs, start = [], 0
    for part in flat.split(sign):
        colon = start + len(part.partition(":")[0])
        if part.strip():
            pairs.append((text[start:colon].strip(), text[colon + 1 : start + len(part)].strip()))
        start += len(part) + 1
    return pairs


def _task_name(answers: Answers) -> Iterator[str]:
    name = str(answers.get("__asked_name", answers["task_name"]))
    if not TASK_NAME.fullmatch(name) or not 2 <= len(name) <= 63:
        rule = "2 to 63 lower case English letters, digits and single hyphens, a letter first"
        yield _problem("task_name", name, rule, "ticket-router")
    elif name in RESERVED or DEVICE.fullmatch(name):
        yield _problem("task_name", name, "must not be a word reserved by Python or Windows", f"{name}-task")


def _description(answers: Answers) -> Iterator[str]:
    text = str(answers["description"])
    fault = _text_fault(text, 200)
    if not fault and set(text) & set(NEVER_IN_TEXT):
        fault = f"the signs {' '.join(NEVER_IN_TEXT)} are not allowed: they mean something to templates"
    if fault:
        yield _problem("description", text, fault, "Route a customer's message to the team that answers it")


def _labels(answers: Answers) -> Iterator[str]:
    text, task_type = str(answers["labels"]), str(answers["task_type"])
    if task_type == "generation":
        if text.strip() != "-":
            yield _problem("labels", text, "generation has no labels", "-")
        return
    sample = answers["_samples"][task_type][answers["language"]]["labels"]
    pairs, faults = list(answers.get("_named", {}).items()), []
    if not pairs:  # typed; a definition file has been checked by its schema
        pairs = parse_labels(text, task_type)
        faults = list(label_faults(text, pairs, 2 if task_type == "classification" else 1))
    for fault in faults:
        yield _problem("labels", text, fault, "; ".join(sample.split("; ")[:2]))
    wanted, given = [[name for name, _ in named] for named in (parse_labels(sample, task_type), pairs)]
    if answers["sample_data"] and not faults and set(given) != set(wanted):
        yield _problem(
            "sample_data",
            "true",
            f"the sample data knows only {', '.join(wanted)}, but labels asks for {', '.join(given)}",
            "sample_data=no, or leave labels as it is",
        )


def label_faults(text: str, pairs: list[tuple[str, str]], least: int) -> Iterator[str]:
    """What is wrong with the list as a whole and with each name and description; the schema's rule is `Named`."""
    if len(pairs) < least:
        yield f"at least {least} 'name: description', separated by semicolons"
    seen: set[str] = set()
    for name, description in pairs:
        shown = _shown(name, 40)
        if not description:
            yield f"{shown} has no description, and commas do not separate: write 'name: description; …'"
        elif fault := _text_fault(description, 300):
            yield f"the description of {shown}: {fault}"
        elif re.search(r":(\s|$)", description) or ("：" in description and len(pairs) == 1):
            yield f"the description of {shown} holds a second colon: separate labels by semicolons, or {BY_FILE}"
        if fault := _text_fault(name, 64):
            yield f"{shown} is no label name: {fault}"
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
    """Why `text` is no plain line, or None."""
    if not text.strip() or len(text) > limit:
        return f"must be 1 to {limit} characters"
    if hidden := next((sign for sign in text if not sign.isprintable()), None):
        return f"line breaks, control, direction and invisible characters are not allowed (U+{ord(hidden):04X})"
    return None


def _problem(variable: str, value: object, rule: str, example: str) -> str:
    return f"{variable}: {_shown(value)}: {rule}. For example: {example}"


def _shown(value: object, limit: int = 60) -> str:
    """The value as it was typed; what does not show, or would steer the terminal, by its number."""
    text = str(value)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "'" + "".join(sign if sign.isprintable() else f"<U+{ord(sign):04X}>" for sign in text) + "'"


def try_again(answers: Answers, caller: list[str], environment: Mapping[str, str]) -> str:
    """The command of `caller` (its words, program first) with every answer in it; "" where it cannot be known.

    An answer keeps its faults, so that only they have to be changed; only what cannot be shown is left out of it.
    """
    place = calling_tool(caller)
    if place is None:
        return ""
    tool, skip = Path(caller[place]).name, False
    kept = _start(caller[: place + 1], tool, environment)
    for word in caller[place + 1 :]:
        option, _, value = word.partition("=")
        if not skip and option not in (*QUESTIONS, *CALLERS[tool], "--no-input", "--replay", "-y"):
            kept.append(word)
        skip = not skip and option in CALLERS[tool] and not value
    given = {name: _typed(answers, name) for name in QUESTIONS}
    if tool == "cruft":
        if "create" not in kept:
            return ""
        extra = [["--extra-context", json.dumps(given, ensure_ascii=False)]]
    else:
        extra = [[f"{name}={value}"] for name, value in given.items()]
    return " \\\n  ".join(" ".join(map(_quoted, words)) for words in ([*kept, "--no-input"], *extra))


def calling_tool(caller: list[str]) -> int | None:
    """Where in the words of a command cookiecutter or cruft is named: `python …/cookiecutter`, `python -m cruft`."""
    place = next((number for number, word in enumerate(caller) if number and not word.startswith("-")), 0)
    by_python = caller and Path(caller[0]).name.lower().startswith(("python", "pypy"))
    return place if by_python and place and Path(caller[place]).name in CALLERS else None


def _start(words: list[str], tool: str, environment: Mapping[str, str]) -> list[str]:
    """How the user started the tool: by its name, through uvx or pipx, which run it from a cache, or by its path."""
    if "-m" in words:
        return list(words)
    cached = "UV" in environment or "pipx" in Path(words[-1]).parts
    folders = environment.get("PATH", "").split(os.pathsep)
    own = {str(Path(word).parent) for word in words} if cached else set()
    if shutil.which(tool, path=os.pathsep.join(folder for folder in folders if folder not in own)):
        return [tool]
    runners = [runner for runner in (["uvx"], ["pipx", "run"]) if cached and shutil.which(runner[0])]
    return [*runners[0], tool] if runners else [words[-1]]


def _typed(answers: Answers, name: str) -> str:
    value = answers.get("__asked_name", answers[name]) if name == "task_name" else answers[name]
    if isinstance(value, bool):
        return "true" if value else "false"
    return as_template("".join(sign if sign.isprintable() else " " if sign.isspace() else "" for sign in str(value)))


def _quoted(word: str) -> str:
    """For the shell, so that an apostrophe stays readable."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def as_template(text: str) -> str:
    """An answer that is not typed at a question is a template to cookiecutter: what opens an expression is quoted."""
    return re.sub(r"[<](?=[%#<])", lambda found: f"{'<' * 2} '{found[0]}' {'>' * 2}", text)


def caller_words() -> list[str]:
    """The command line of the process that runs this hook; empty where it cannot be read."""
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:  # no /proc on macOS
        pass
    try:
        asked = ["ps", "-ww", "-o", "args=", "-p", str(os.getppid())]
        return subprocess.run(asked, capture_output=True, text=True, errors="replace", check=False).stdout.split()
    except OSError:
        return []


def stop(caller: list[str]) -> int:
    """End the caller as Ctrl-C does: after a hook's exit code, 15 (cookiecutter 2.7) or 100 lines (cruft) of traceback
    would stand below the message. Anything that is not their command line gets the exit code only (ADR 0015).
    """
    if calling_tool(caller) is not None and os.name == "posix" and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        os.kill(os.getppid(), signal.SIGINT)
        with suppress(OSError):  # the new folder, which they remove after a failure but not after Ctrl-C
            Path.cwd().rmdir()
    return 1


def say(text: str) -> None:
    """Print on standard error; whatever is wrong with it, nothing is raised, also not when Python ends."""
    try:
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        sys.stderr = None  # type: ignore[assignment]


def main() -> int:
    if ANSWERS.startswith("<" * 2):
        say(TOO_OLD)
        return stop(caller_words())
    answers = json.loads(ANSWERS)
    problems = find_problems(answers)
    if not problems:
        return 0
    caller = caller_words()
    say("\n".join(["The answers cannot be used; nothing has been written:", *(f"  - {line}" for line in problems)]))
    if command := try_again(answers, caller, os.environ):
        say(f"\nAll answers stand in this command: change what is wrong, and run it.\n\n{command}\n")
    return stop(caller)


if __name__ == "__main__":
    sys.exit(main())
