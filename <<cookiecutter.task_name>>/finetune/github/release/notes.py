"""The text of a GitHub release, README's results, and SHA256SUMS: what was published, how good it is, is it intact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finetune.github.client.actions import run_url
from finetune.github.release.bundle import LinkedFile
from finetune.github.release.published import Published
from finetune.hub.plan import KINDS
from finetune.markdown import code, limited, plain, table
from finetune.numbers import format_number, format_signed, format_size
from finetune.provenance import sha256

CHARACTERS = 100_000
"""GitHub takes 125,000 in the body of a release."""
_SERVES = {"adapter": "LoRA adapter (peft)", "gguf": "Ollama, llama.cpp", "merged": "vLLM, transformers"}


def render_notes(published: Published, linked: Mapping[str, LinkedFile]) -> str:
    """Body of the GitHub release; `linked` are files too large to attach, by name."""
    sections = [
        f"{plain(published.project.task.description)}\n\n{_headline(published)}",
        _repositories(published),
        _artefacts(published),
        f"From commit {code(published.commit)}. The attached integration_guide.md says how to call the model.",
        _check(),
        _linked(linked),
        _files(published),
    ]
    return limited(sections, characters=CHARACTERS, size=2 * CHARACTERS, link=run_url()) + "\n"


def render_results(published: Published) -> str:
    """What README shows between its markers."""
    tag = published.tag.name
    intro = f"Version [{tag}]({published.release_url}), see [how to call it](docs/integration_guide.md)."
    return "\n\n".join([intro, _headline(published), _metrics(published), _artefacts(published, heading="")])


def checksums(published: Published, folder: Path, names: list[str]) -> str:
    """SHA256SUMS as `sha256sum --check` reads it: every file on the Hub below its kind, then `names` in `folder`."""
    lines = [
        f"{file.sha256}  {kind}/{path}"
        for kind in KINDS
        for path, file in sorted(published.receipt(kind).files.items())
    ]
    return "\n".join([*lines, *(f"{sha256(folder / name)}  {name}" for name in sorted(names))]) + "\n"


def _headline(published: Published) -> str:
    primary, report = published.report.primary, published.report
    low, high = primary.ci
    text = (
        f"**{plain(primary.metric)} {format_number(primary.value)}** on {report.data.rows} test rows "
        f"(threshold {format_number(primary.threshold)}, {primary.confidence:.0%} interval {format_number(low)} to "
        f"{format_number(high)})"
    )
    zero = report.baselines.zero_shot
    return text + (f"; the base model without training {format_number(zero.value)}." if zero else ".")


def _metrics(published: Published) -> str:
    report = published.report
    baselines = report.baselines.items()
    heads = ("metric", "adapter", "interval", *(name.replace("_", "-") for name, _ in baselines))
    rows = (
        (
            code(name),
            format_number(value),
            " to ".join(map(format_number, report.intervals[name])),
            *(format_number(baseline.metrics.get(name)) for _, baseline in baselines),
        )
        for name, value in report.metrics.items()
    )
    return "\n".join(table(heads, rows))


def _artefacts(published: Published, heading: str = "### Measured on every form\n\n") -> str:
    """No speeds: they would differ the next time, and say more about the runner than about the model."""
    primary = published.report.primary.metric
    rows = (
        (
            code(row.name),
            format_number(row.value),
            format_signed(row.difference),
            format_number(row.tolerance),
            format_size(published.bytes_of(row.name)),
        )
        for row in published.report.artefacts
        if row.status != "open"
    )
    heads = ("form", code(primary), "against the adapter", "largest drop allowed", "size")
    return heading + "\n".join(table(heads, rows))


def _repositories(published: Published) -> str:
    rows = (
        (
            f"[{plain(receipt.repo)}]({published.hub_url(kind)})",
            _SERVES[kind],
            code(receipt.commit),
            format_size(receipt.bytes),
        )
        for kind, receipt in ((kind, published.receipt(kind)) for kind in KINDS)
    )
    return "### Published\n\n" + "\n".join(table(("repository", "for", "commit", "size"), rows))


def _linked(linked: Mapping[str, LinkedFile]) -> str:
    """GitHub takes files below 2 GiB; larger ones are named with their hash and where they are."""
    if not linked:
        return ""
    rows = ((f"[{plain(name)}]({at.url})", format_size(at.bytes), code(at.sha256)) for name, at in linked.items())
    heads = ("file", "size", "sha256")
    return "### Too large to attach\n\n" + "\n".join(table(heads, rows))


def _files(published: Published) -> str:
    rows = (
        (f"[{kind}/{plain(path)}]({published.hub_url(kind, path)})", format_size(file.bytes), code(file.sha256))
        for kind in KINDS
        for path, file in sorted(published.receipt(kind).files.items())
    )
    return "### Every published file\n\n" + "\n".join(table(("file", "size", "sha256"), rows))


def _check() -> str:
    command = "sha256sum --check --ignore-missing SHA256SUMS"
    return (
        "### Check\n\nDownload each repository into a folder named adapter, gguf or merged, SHA256SUMS beside them, "
        f"then {code(command)}."
    )
