"""Answers for a file of rows: checked first, then written window by window, so that a killed run goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import msgspec

from finetune import provenance
from finetune.config.project import Project
from finetune.console import progress, report_problems, say, table
from finetune.data.chat_format import prompt_messages, system_text
from finetune.data.scan.survey import PROGRESS_FROM_BYTES
from finetune.errors import OK, FinetuneError, Problems
from finetune.evaluation.backends import open_backend
from finetune.evaluation.completions import Backend, Completion
from finetune.evaluation.predictions import artefact_digest, generation_settings
from finetune.inference.answers import FIELD, Answer, answer_of, output_line
from finetune.inference.artefacts import choose, shown_path
from finetune.inference.checks import Oddities, TextChecks
from finetune.inference.part import PartialOutput
from finetune.inference.source import HOW, STDIN, InputRow, Source, open_source
from finetune.interrupts import rerun

WINDOW = 128
"""Rows between two writes to the disk: what a killed run loses at most."""
_SHOWN_ANSWERS = 20


@rerun("answers that are written are kept, and it goes on behind them")
def predict(
    project: Project,
    source: str,
    output: str,
    artefact: str | None = None,
    form: str | None = None,
    force: bool = False,
) -> int:
    """Answer every row of `source` into `output`, a JSON Lines file: the row as it is, and its `prediction`.

    Rows are checked before a model is loaded (BadInput with all problems). Run again, it goes on where it was stopped;
    with nothing left to do it says so. `force` replaces an output, or a part of one, that another run has written.
    Raises FinetuneError (E401, E440, E441, E443 to E447) and what the artefact's backend raises.
    """
    name = choose(project, artefact)
    if not source:
        raise FinetuneError("no input is named", HOW, "E440")
    out = _output(project, output)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = PartialOutput(out, WINDOW, output)
    given = Path(source)
    if source != STDIN and given.exists() and any(file.exists() and file.samefile(given) for file in part.files):
        raise FinetuneError(f"{source} is input and output at once", "name another OUT", "E443")
    asked = open_source(source, form, out.parent)
    try:
        return _answer(project, name, asked, part, force)
    finally:
        part.close()
        asked.close()


def _answer(project: Project, artefact: str, source: Source, part: PartialOutput, force: bool) -> int:
    inputs = _inputs(project, artefact, source)
    if part.is_done(inputs):
        say(f"{part.shown} is up to date")
        return OK
    part.refuse_foreign(inputs, force)
    rows = part.rows_of(inputs)
    if rows is None:
        rows = check_rows(project, artefact, source)
    done = part.open(inputs, rows)
    if done:
        say(f"  going on after {done} of {rows} rows")
    began = time.monotonic()
    if done < rows:
        say(f"  loading {artefact}: {shown_path(project, artefact)}")
        backend = open_backend(project, artefact)
        try:
            began = time.monotonic()
            _write(project, backend, source, part, done, rows)
        finally:
            backend.close()
    seconds = time.monotonic() - began
    if source.changed():
        raise FinetuneError(f"{source.name} changed while it was read", "run the same command again", "E447")
    counts = _count(part.path)
    kept = {"artefact": artefact, **asdict(counts), "environment": provenance.environment(project.paths.root)}
    part.finish(inputs, kept)
    _show(project, part.shown, counts, rows - done, seconds)
    return OK


def check_rows(project: Project, artefact: str, source: Source) -> int:
    """How many rows there are to answer; raises BadInput with every problem of every row."""
    problems, checks, count = Problems(), TextChecks(project, artefact), 0
    rows: Iterator[InputRow] = source.rows(project.task, problems, checks)
    if source.bytes >= PROGRESS_FROM_BYTES:
        rows = progress(rows, "checking rows", total=source.lines)
    for _ in rows:
        count += 1
    _warn_of_oddities(project, source.name, checks.oddities, problems)
    problems.raise_if_errors()
    report_problems(problems)
    return count


def _warn_of_oddities(project: Project, name: str, oddities: Oddities, problems: Problems) -> None:
    """What is answered though the model has learnt from nothing like it, one line a kind."""
    if oddities.long:
        what = f"{_rows(oddities.long[0])} with more than input.max_chars ({project.task.input.max_chars}) characters"
        problems.add(name, "W440", f"{what}, the first one here", "expect less of their answers", line=oddities.long[1])
    if oddities.hidden:
        what = f"{_rows(oddities.hidden[0])} with invisible or bidirectional characters, the first one here"
        problems.add(name, "W441", what, "the model reads them; people do not see them", line=oddities.hidden[1])


def _write(project: Project, backend: Backend, source: Source, part: PartialOutput, done: int, rows: int) -> None:
    problems = Problems()
    asked = islice(source.rows(project.task, problems), done, None)
    answers = _answers(project, backend, asked, part)
    written = done + sum(1 for _ in progress(answers, f"{backend.name}: answering", total=rows - done))
    if problems.error_count or written != rows:
        raise FinetuneError(f"{source.name} changed while it was read", "run the same command again", "E447")


def _answers(project: Project, backend: Backend, rows: Iterator[InputRow], part: PartialOutput) -> Iterator[Completion]:
    """One completion a row, its window written as soon as it is whole."""
    task = project.task
    while window := list(islice(rows, WINDOW)):
        lines = []
        conversations = [prompt_messages(task, row.text) for row in window]
        completions = backend.generate(conversations, task.output.max_new_tokens)
        for row, completion in zip(window, completions, strict=True):
            lines.append(output_line(row.raw, answer_of(task, completion, row.line)))
            if len(lines) == len(window):
                part.append(lines)
            yield completion


def _inputs(project: Project, artefact: str, source: Source) -> dict[str, str]:
    """What the output's bytes depend on."""
    task = project.task
    asked = {"type": task.task_type, "field": task.input.field, "output": task.output.model_dump(mode="json")}
    return {
        "input": provenance.digest([source.sha256, source.form]),
        "artefact": artefact_digest(project, artefact),
        "task": provenance.digest(asked | {"system": system_text(task)}),
        "generation": provenance.digest(generation_settings(project, artefact) | {"window": WINDOW}),
    }


def _output(project: Project, given: str) -> Path:
    """Where the answers go; a link's target, so that the link stays."""
    if not given:
        raise FinetuneError("no output is named", "name a .jsonl file for the answers", "E443")
    out = Path(given).resolve()
    if out.suffix.lower() != ".jsonl":
        raise FinetuneError(f"{given} is no .jsonl file", "name a .jsonl file for the answers", "E443")
    if out.exists() and not out.is_file():
        raise FinetuneError(f"{given} is no plain file", "name a .jsonl file for the answers", "E443")
    paths = project.paths
    for folder in (paths.raw, paths.chat_format, paths.test.parent):
        if out.parent == folder.resolve():
            where = paths.relative(folder)
            raise FinetuneError(f"{where} holds the data of training, no answers", "name another folder", "E443")
    return out


class _Written(msgspec.Struct):
    prediction: Answer


@dataclass
class AnswerCounts:
    """What a finished file holds."""

    rows: int = 0
    valid: int = 0
    """answers that could be read"""
    finished: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    """the most frequent ones"""


def _count(path: Path) -> AnswerCounts:
    decode = msgspec.json.Decoder(_Written).decode
    counts = AnswerCounts()
    answers: Counter[str] = Counter()
    with open(path, "rb") as file:
        for line in file:
            answer = getattr(decode(line), FIELD)
            counts.rows += 1
            counts.valid += answer.valid
            counts.finished += answer.finished
            if answer.valid and isinstance(answer.answer, str) and (len(answers) < 1000 or answer.answer in answers):
                answers[answer.answer] += 1
    counts.answers = dict(answers.most_common(_SHOWN_ANSWERS))
    return counts


def _show(project: Project, out: str, counts: AnswerCounts, answered: int, seconds: float) -> None:
    if project.task.task_type == "classification":
        table("Answers", ("label", "rows"), counts.answers.items())
    if counts.valid < counts.rows:
        say(f"  {_rows(counts.rows - counts.valid)} with an answer that cannot be read (valid: false)")
    if counts.finished < counts.rows:
        say(f"  {_rows(counts.rows - counts.finished)} cut at output.max_new_tokens (finished: false)")
    now = "" if answered == counts.rows else f", {answered} of them now"
    speed = f", {answered / max(seconds, 1e-9):.1f} rows a second" if answered else ""
    say(f"{out}: {_rows(counts.rows)}{now}{speed}")


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
