"""Gather a release's files in build/release: what is attached on GitHub, and the record that is proposed to main."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from finetune.config.project import Project
from finetune.console import report_problems, say, table
from finetune.errors import OK, FinetuneError, Problems
from finetune.github.client.actions import run_url
from finetune.github.release.bundle import MAX_ASSET, NOTES, RECORD, SUMS, LinkedFile, bundle_folder, iteration_path
from finetune.github.release.published import Published, read_published
from finetune.github.release.releases import ITERATION
from finetune.github.release.tags import checked_out, release_tag
from finetune.provenance import MANIFEST, sha256, staged, write_manifest, write_text
from finetune.receipts import RECEIPTS

STEP = "release_assets"


def release_assets(project: Project) -> int:
    """Write build/release for the published tag; needs no access to GitHub.

    Raises FinetuneError for a tag that is no version (E640) or not what is checked out (E643), and when receipts (E645)
    or report (E646) are not of this version and these files.
    """
    from finetune.github.release.notes import checksums, render_notes
    from finetune.github.release.record_files import record_files

    tag = release_tag()
    commit = checked_out(project, tag)
    published = read_published(project, tag, commit)
    problems = Problems()
    record = record_files(published, problems)
    with staged(bundle_folder(project)) as folder:
        for path, text in record.items():
            write_text(folder / RECORD / path, text)
        linked = _attach(published, folder)
        attached = sorted(path.name for path in folder.iterdir() if path.is_file())
        write_text(folder / SUMS, checksums(published, folder, attached))
        write_text(folder / NOTES, render_notes(published, linked))
        outputs = sorted(path for path in folder.rglob("*") if path.is_file())
        facts = {"tag": tag.name, "commit": commit, "linked": linked}
        inputs = {"receipts": published.receipts.digest}
        write_manifest(folder / MANIFEST, step=STEP, inputs=inputs, outputs=outputs, facts=facts)
    report_problems(problems)
    _show(project, linked)
    return OK


def _documents(published: Published, record: Path) -> Iterator[tuple[str, Path]]:
    """What is attached: the report, where it was published, what made each artefact, how to call it."""
    paths = published.project.paths
    for path in (paths.report_yaml, paths.report_md, paths.report_html):
        yield path.name, path
    yield RECEIPTS, paths.publish_plan / RECEIPTS
    for kind, folder in (("adapter", paths.adapter), ("merged", paths.merged), ("gguf", paths.gguf)):
        yield f"{kind}_manifest.json", folder / MANIFEST
    yield ITERATION, record / iteration_path(published.tag)
    yield "integration_guide.md", record / "docs" / "integration_guide.md"


def _attach(published: Published, folder: Path) -> dict[str, LinkedFile]:
    """Copy the documents into `folder`; those GitHub would refuse for their size are returned with hash and link.

    The models themselves are never attached: they are on the Hub, and the notes link each file there with its hash.
    """
    linked: dict[str, LinkedFile] = {}
    for name, source in _documents(published, folder / RECORD):
        if not source.is_file():
            shown = published.project.paths.relative(source)
            raise FinetuneError(f"{shown} is missing", "run the steps of the model job again", "E646")
        size = source.stat().st_size
        if size >= MAX_ASSET:
            linked[name] = LinkedFile(bytes=size, sha256=sha256(source), url=run_url())
        else:
            shutil.copyfile(source, folder / name)
    return linked


def _show(project: Project, linked: dict[str, LinkedFile]) -> None:
    folder = bundle_folder(project)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = [(path.relative_to(folder).as_posix(), f"{path.stat().st_size:,}") for path in files]
    table("build/release", ("file", "bytes"), rows)
    for name, file in linked.items():
        say(f"  {name} has {file.bytes:,} bytes, more than GitHub takes: linked in the notes, not attached")
