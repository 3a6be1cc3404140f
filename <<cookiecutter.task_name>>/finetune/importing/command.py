"""The options of scripts/import_data.py, and what they wish for."""

from __future__ import annotations

import glob
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from finetune.config.project import Project
from finetune.errors import FinetuneError
from finetune.importing.drafts import Columns
from finetune.importing.sources import Options
from finetune.importing.stage import Wishes, import_files

Files = Annotated[list[Path] | None, typer.Argument(metavar="FILE…", help="files, or folders of a data set")]
Root = Annotated[Path, typer.Option(help="repository root")]
Input = Annotated[str, typer.Option(help="column with the text; a dotted path into nested records")]
Label = Annotated[
    str, typer.Option("--label", "--output", "--entities", help="column with the label, the answer or the entities")
]
Id = Annotated[str, typer.Option("--id", help="column with an id of each row")]
Group = Annotated[str, typer.Option(help="column whose rows of one value stay in one split, such as a customer")]
MapLabel = Annotated[
    list[str] | None,
    typer.Option("--map-label", metavar="OLD=NEW", help="a label of the file is NEW; OLD= leaves it out"),
]
Part = Annotated[str, typer.Option("--sheet", "--split", help="sheet of a workbook, split of a data set (or all)")]
Encoding = Annotated[str, typer.Option(help="instead of the one that is found, such as cp950")]
Delimiter = Annotated[str, typer.Option(help="instead of the one that is found; tab for a tabulator")]
Header = Annotated[bool | None, typer.Option("--header/--no-header", help="whether the first row names the columns")]
Offsets = Annotated[str, typer.Option(help="what offsets of spans count: characters or utf-16")]
Name = Annotated[str, typer.Option(help="write data/raw/NAME.jsonl")]
Strict = Annotated[bool, typer.Option("--strict", help="write nothing unless every record can be taken")]
Partial = Annotated[bool, typer.Option("--partial", help="write also where less than half can be taken")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show everything, write nothing")]


def import_data(
    project: Project,
    files: list[Path] | None,
    input: str,
    label: str,
    id: str,
    group: str,
    map_label: list[str] | None,
    sheet: str,
    name: str,
    encoding: str,
    delimiter: str,
    header: bool | None,
    offsets: str,
    strict: bool,
    partial: bool,
    dry_run: bool,
) -> int:
    """Import `files`; the other arguments are the options above. Raises FinetuneError (E172) for one that cannot be."""
    files = files or _files_from_environment()
    delimiter = {"tab": "\t", r"\t": "\t", "comma": ",", "semicolon": ";"}.get(delimiter, delimiter)
    if len(delimiter) > 1 or delimiter in ('"', "\n", "\r"):
        raise FinetuneError(f"--delimiter {delimiter[:20]!r} is not one sign", "for instance: --delimiter ';'", "E172")
    if offsets not in ("", "characters", "utf-16"):
        raise FinetuneError(f"--offsets {offsets[:20]!r} is not known", "characters or utf-16", "E172")
    options = Options(encoding or None, delimiter or None, sheet or None, header, offsets or None)
    columns = Columns(input, label, id, group)
    wishes = Wishes(columns, options, tuple(map_label or ()), name or None, strict, partial, dry_run)
    return import_files(project, files, wishes)


def _files_from_environment() -> list[Path]:
    """The words of FILES, by which `make import` names files: quotes, ~, * and ? as in a shell, and nothing is run."""
    try:
        words = shlex.split(os.environ.get("FILES", ""))
    except ValueError as failure:
        fix = "quote a name as in a shell: FILES=\"'my file.csv'\""
        raise FinetuneError(f"FILES: {failure}", fix, "E172") from None
    if not words:
        raise FinetuneError("no file is named", "python scripts/import_data.py FILE…", "E172")
    named = [os.path.expanduser(word) for word in words]
    return [Path(found) for name in named for found in _matching(name)]


def _matching(name: str) -> list[str]:
    return [name] if os.path.lexists(name) else sorted(glob.glob(name)) or [name]
