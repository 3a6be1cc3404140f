"""The record of a release on top of what main is now: edits are made again there, so that nothing is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from finetune.console import say
from finetune.errors import FinetuneError
from finetune.github.release.bundle import iteration_path
from finetune.github.release.edits import mark_released, replace_results, results_of
from finetune.github.release.tags import Tag, read_tag

Reader = Callable[[str], str | None]
"""Text of a file at some commit by its path, None where there is none."""
_README, _TASK, _GUIDE = "README.md", "task_definition.yaml", "docs/integration_guide.md"


def on_top(record: Mapping[str, str], tag: Tag, before: Reader, now: Reader, names: Iterable[str]) -> dict[str, str]:
    """The record's files for a commit on `now`; it was made from the files of the release, `before`.

    `names` are the files of iterations/ there. Where a later version is recorded, only the iteration file is added:
    README, guide and task describe the latest.
    """
    path = iteration_path(tag)
    recorded = (read_tag(f"refs/tags/{name.removesuffix('.yaml')}") for name in names)
    later = [other.name for other in recorded if other and other.order > tag.order]
    if later:
        say(f"{later[0]} is recorded already: only {path} is added")
        return {path: record[path]}
    files = {}
    for name, text in record.items():
        content = text if name in (path, _GUIDE) else _reapply(name, text, tag, before(name), now(name))
        if content is None:
            say(f"  {name} was changed since the release and is left alone")
        else:
            files[name] = content
    return files


def _reapply(name: str, text: str, tag: Tag, before: str | None, now: str | None) -> str | None:
    """The release's edit of one file, made on its present content; None where that is not possible."""
    if now == before:
        return text
    if now is None:
        return None
    if name == _README:
        return replace_results(now, results_of(text) or "")
    if name == _TASK:
        try:
            return mark_released(now, tag.version)
        except FinetuneError:
            return None
    return None  # CHECKLIST.md: its evidence lay on the release's runner, and its ticks are people's
