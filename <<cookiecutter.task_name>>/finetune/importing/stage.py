"""The import: sources recognised, mapped, made rows, judged, shown, written; or told why not, and nothing written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from finetune.config.project import Project
from finetune.console import progress, resolved, say
from finetune.errors import BAD_INPUT, OK, FinetuneError, Problems
from finetune.importing.drafts import Columns
from finetune.importing.mapping import COMMAND, find_mapping
from finetune.importing.mapping import Mapping as Roles
from finetune.importing.opening import open_source
from finetune.importing.outcome import Outcome, ids_of
from finetune.importing.rows import Judge, RowMaker
from finetune.importing.sources import Options, Refused, Source, first_of
from finetune.importing.writing import put, target_of, temporary

SAMPLE = 1000
"""Records by which shape and columns are told."""
_BATCH = 1000


@dataclass(frozen=True)
class Wishes:
    """What the command line says beside the files."""

    columns: Columns = field(default_factory=Columns)
    options: Options = field(default_factory=Options)
    labels: tuple[str, ...] = ()
    """OLD=NEW, as typed; OLD= leaves such rows out."""
    name: str | None = None
    strict: bool = False
    partial: bool = False
    dry_run: bool = False

    def command(self, source: str) -> str:
        """The command that imports `source` with these wishes."""
        columns, options = self.columns, self.options
        given = {
            "input": columns.input,
            "label": columns.answer,
            "id": columns.id,
            "group": columns.group,
            "sheet": options.part,
            "encoding": options.encoding,
            "delimiter": options.delimiter,
            "offsets": options.offsets,
            "name": self.name,
        }
        parts = [source, *(part for key, value in given.items() if value for part in (f"--{key}", value))]
        parts += [part for pair in self.labels for part in ("--map-label", pair)]
        flags = {"--no-header": options.header is False, "--strict": self.strict, "--partial": self.partial}
        return " ".join([COMMAND, *map(shlex.quote, parts), *(flag for flag, said in flags.items() if said)])


@dataclass
class _Job:
    source: Source
    roles: Roles
    target: Path


def import_files(project: Project, files: list[Path], wishes: Wishes) -> int:
    """Write data/raw/NAME.jsonl for each of `files`; 0 also where it is there already, with the same rows.

    Raises BadInput with what is wrong with all of the files, before anything is written.
    """
    problems = Problems()
    mapping = _label_mapping(wishes.labels, project, problems)
    if wishes.name and len(files) > 1:
        problems.add("--name", "E172", f"one name for {len(files)} files", "import one file at a time, or leave it out")
    jobs = [job for file in files if (job := _prepared(project, file, wishes, problems))]
    for job in jobs:
        _announce(job)
    targets = [job.target for job in jobs]
    for job in jobs:
        if targets.count(job.target) > 1:
            shown = project.paths.relative(job.target)
            problems.add(
                job.source.name, "E168", f"would be written to {shown} like another one", "import it with --name"
            )
    problems.raise_if_errors()
    judge = Judge(project)
    worst = OK
    for job in jobs:
        worst = max(worst, _run(project, job, wishes, mapping, judge))
    if worst == OK and not wishes.dry_run:
        sample = project.paths.raw / "sample.jsonl"
        if sample.exists() and sample not in targets:
            say("data/raw/sample.jsonl is trained on as well: remove it where it is the template's sample")
        say("next: python scripts/01_validate_data.py")
    return worst


def _label_mapping(pairs: tuple[str, ...], project: Project, problems: Problems) -> dict[str, str]:
    known = project.task.label_names or project.task.entity_type_names
    found: dict[str, str] = {}
    for pair in pairs:
        old, sign, new = pair.rpartition("=")
        old, new = old.strip(), new.strip()
        if not sign or not old:
            problems.add(
                "--map-label", "E172", f"{pair!r} is not OLD=NEW", "write for instance: --map-label positive=good"
            )
        elif new and new not in known:
            fix = f"one of {', '.join(known)}" if known else "this task has no labels"
            problems.add("--map-label", "E172", f"{new!r} is not in the task", fix)
        elif found.setdefault(old, new) != new:
            problems.add("--map-label", "E172", f"{old!r} is mapped twice", "say one of them")
    return found


def _prepared(project: Project, file: Path, wishes: Wishes, problems: Problems) -> _Job | None:
    try:
        source = open_source(file, project.task, wishes.options)
        sample = first_of(source.entries(), SAMPLE)
        if not sample:
            _nothing(source)
        roles = find_mapping(source, sample, project.task, wishes.columns, problems)
        target = target_of(project, file, wishes.name)
    except FinetuneError as failure:
        if failure.exit_code != BAD_INPUT:
            raise
        place, what = file.as_posix(), failure.message
        if what.startswith(f"{place}: "):
            what = what.removeprefix(f"{place}: ")
        elif what.startswith(place):  # a row of it, or a file in it
            place, _, what = what.rpartition(": ")
        problems.add(place, failure.code, what, failure.fix)
        return None
    return _Job(source, roles, target) if roles else None


def _nothing(source: Source) -> None:
    """Say why not even one record could be read."""
    with closing(source.entries()) as entries:  # type: ignore[type-var]
        for entry in entries:
            assert isinstance(entry.value, Refused)
            what = f"no record can be read; the first: {entry.place}: {entry.value}"
            raise FinetuneError(f"{source.name}: {what}", "correct the file, or save it in another format", "E171")
    raise FinetuneError(f"{source.name}: no records", "put the rows into it", "E161")


def _announce(job: _Job) -> None:
    say(f"{job.source.name}: {job.source.format}")
    for what, value, reason in (*job.source.found, *job.roles.choices):
        resolved(what, value, reason)


def _run(project: Project, job: _Job, wishes: Wishes, mapping: Mapping[str, str], judge: Judge) -> int:
    """Convert one source; again without its ids, where they were found and not told, and clash."""
    shown = project.paths.relative(job.target)
    taken = ids_of(project, job.target) if job.roles.columns.id else set()
    while True:
        with temporary(job.target) as file:
            outcome = Outcome(project, RowMaker(project, mapping, wishes.options.offsets), judge, taken)
            for _ in progress(_percents(job, outcome, file), f"reading {job.source.name}", total=100):
                pass
            if outcome.id_clashes and job.roles.own_id and job.roles.columns.id:
                where = f"{outcome.id_clashes} of its values are used more than once in data/raw"
                resolved("id", "left out", f"{where}; --id {job.roles.columns.id} keeps it")
                job.roles = _without_ids(job)
                continue
            outcome.tell(job.source.name, wishes.command(job.source.name))
            outcome.raise_if_too_few(job.source.name, strict=wishes.strict, partial=wishes.partial)
            if wishes.dry_run:
                say(f"would write {shown}: {outcome.taken} rows")
            elif put(file, job.target, shown, f"look at it, or write beside it: --name {job.target.stem}-2"):
                say(f"wrote {shown}: {outcome.taken} rows")
            else:
                say(f"{shown} is up to date: {outcome.taken} rows")
            return OK


def _without_ids(job: _Job) -> Roles:
    old = job.roles.read

    def read(record: dict) -> object:
        draft = old(record)
        draft.id = None
        return draft

    columns = Columns(job.roles.columns.input, job.roles.columns.answer, "", job.roles.columns.group)
    return Roles(read, columns, job.roles.choices)  # type: ignore[arg-type]


def _percents(job: _Job, outcome: Outcome, file: BinaryIO) -> Iterator[int]:
    """Convert everything; yields once for each hundredth of the source that is done."""
    shown = 0
    encode = msgspec.json.Encoder().encode
    for entry in job.source.entries():
        outcome.add(entry, job.roles.read, encode)
        if len(outcome.waiting) >= _BATCH:
            outcome.flush(file)
        while shown < min(int(entry.done * 100), 99):
            shown += 1
            yield shown
    outcome.flush(file)
    yield from range(shown, 100)
