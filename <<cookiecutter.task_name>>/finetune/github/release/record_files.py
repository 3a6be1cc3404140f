"""What a release changes in its own repository: the record that the pull request proposes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from finetune.errors import Problems
from finetune.github.release.bundle import iteration_path
from finetune.github.release.edits import mark_released, replace_results
from finetune.github.release.guide import render_guide
from finetune.github.release.iteration import iteration
from finetune.github.release.notes import render_results
from finetune.github.release.published import Published


def record_files(published: Published, problems: Problems) -> dict[str, str]:
    """New content by path. A README without results markers is left alone, with a warning (W640) in `problems`."""
    root, tag = published.project.paths.root, published.tag
    files = {
        iteration_path(tag): _iteration_text(published),
        "docs/integration_guide.md": render_guide(published),
        "task_definition.yaml": mark_released(_read(root / "task_definition.yaml"), tag.version),
    }
    readme = root / "README.md"
    changed = replace_results(_read(readme), render_results(published)) if readme.is_file() else None
    if changed is None:
        fix = "put <!-- results:start --> and <!-- results:end --> where the results belong"
        problems.add("README.md", "W640", "no place for the results", fix)
    else:
        files["README.md"] = changed
    files["CHECKLIST.md"] = _checklist(root, files)
    return files


def _iteration_text(published: Published) -> str:
    head = f"# {published.tag.name}: what it was made of and how good it is. Written by the release, never edited.\n"
    values = iteration(published)
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _checklist(root: Path, files: Mapping[str, str]) -> str:
    """CHECKLIST.md by the evidence of the tree as it is once the record is merged; ticks of people stay."""
    from finetune.evidence.checklist import evaluate, load_checklist, read_ticks, render
    from finetune.evidence.facts import Facts

    before = root / "CHECKLIST.md"
    ticks = read_ticks(_read(before) if before.is_file() else "")
    checklist = load_checklist()
    with overlaid(root, files) as view:
        return render(checklist, evaluate(checklist, Facts(view), ticks))


@contextmanager
def overlaid(root: Path, files: Mapping[str, str]) -> Iterator[Path]:
    """A folder that looks like `root` with `files` written into it; `root` itself stays as it is.

    Everything that is not overwritten is a link, so that models of many gigabytes are seen without a copy.
    """
    with tempfile.TemporaryDirectory(prefix="overlay-") as temporary:
        view = Path(temporary).resolve()
        _link(root.resolve(), view, {tuple(path.split("/")): text for path, text in files.items()})
        yield view


def _link(source: Path, target: Path, files: Mapping[tuple[str, ...], str]) -> None:
    ours = {path[0] for path in files}
    for entry in source.iterdir() if source.is_dir() else ():
        if entry.name not in ours:
            os.symlink(entry, target / entry.name)
    for name in ours:
        inner = {path[1:]: text for path, text in files.items() if path[0] == name}
        if () in inner:
            (target / name).write_bytes(inner[()].encode("utf-8"))
        else:
            (target / name).mkdir()
            _link(source / name, target / name, inner)


def _read(path: Path) -> str:
    """Text with its line ends as they are."""
    return path.read_bytes().decode("utf-8")
