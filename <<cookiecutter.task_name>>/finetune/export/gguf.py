"""Step 06: GGUF files for llama.cpp and Ollama from the merged model, each read back before it counts as made.

llama.cpp's own converter makes the 16-bit file, llama.cpp itself quantises it. Every file appears by rename once it is
complete and checked, so a killed run continues with the missing ones.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from finetune import provenance, sealed
from finetune.child_process import import_paths
from finetune.config.benchmark import FLOATS, SIZES
from finetune.config.project import Project
from finetune.console import say
from finetune.errors import OK
from finetune.evaluation.backends import gguf_path
from finetune.export.child import run_python
from finetune.export.gguf_check import check_gguf, template_of
from finetune.export.lineage import require_gguf, require_merged
from finetune.export.llama_cpp_source import find_converter, runtime_version
from finetune.export.safety import require_space
from finetune.interrupts import rerun
from finetune.threads import limit

DEFAULTS = ("Q4_K_M", "Q8_0")
"""The quantisation that Ollama gets when nothing is said, in this order of preference."""


@dataclass(frozen=True)
class _Source:
    """The merged model as the files are made from it."""

    project: Project
    folder: Path
    digest: str
    size: int
    """of its files, in bytes"""
    eos_ids: tuple[int, ...]
    runtime: str

    @cached_property
    def template(self) -> bytes:
        """The base model's chat template: where it stands in a file, it may only come from there."""
        from finetune.training.base_model import load_tokenizer, resolve_base

        return template_of(load_tokenizer(resolve_base(self.project)))


@rerun("files that are finished are kept, the others are made anew")
def convert(project: Project, force: bool = False) -> int:
    """Write models/gguf: one file per quantisation, and Modelfile, template, system and params for Ollama.

    Raises FinetuneError without a merged model (E504), for one that changed (E505), is outdated (E311) or carries code
    (E510), for an outdated adapter (E310), and what the converter, the reading back (E774–E776) and the Ollama template
    (E53x) raise.
    """
    paths = project.paths
    source = _source(project)
    quantisations = project.benchmark.quantisations
    inputs = _inputs(project, source)
    manifest = paths.gguf / provenance.MANIFEST
    if not force and sealed.is_current(manifest, inputs):
        say(f"{paths.relative(paths.gguf)} is up to date")
        return OK
    paths.gguf.mkdir(parents=True, exist_ok=True)
    for leftover in paths.gguf.glob(".*.tmp"):
        leftover.unlink()
    if force:
        for record in _records(project).glob("*.json"):
            record.unlink()
    facts = _make_files(project, source)
    ollama = _write_ollama(project, source)
    files = [gguf_path(project, name) for name in quantisations]
    _remove_stale(paths.gguf, {path.name for path in files})
    provenance.write_manifest(manifest, step="06_convert_gguf", inputs=inputs, outputs=[*files, *ollama], facts=facts)
    for path in files:
        say(f"  {paths.relative(path)} {path.stat().st_size / 1e6:.0f} MB")
    return OK


def _source(project: Project) -> _Source:
    """The merged model, after checking that it is whole, up to date, and that nothing in it can run code."""
    folder = project.paths.merged
    manifest = require_merged(project)
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    digest = manifest.outputs_digest
    return _Source(project, folder, digest, weights, tuple(generation["eos_token_id"]), runtime_version())


def require_files(project: Project) -> None:
    """For step 07: the whole chain up to models/gguf is up to date; raises what finetune/export/lineage.py says."""
    require_gguf(project, _inputs(project, _source(project)))


def _inputs(project: Project, source: _Source) -> dict[str, str]:
    from finetune.data.chat_format import system_text, template_options

    served = {
        "system": system_text(project.task),
        "options": template_options(project.training),
        "max_new_tokens": project.task.output.max_new_tokens,
        "context": project.benchmark.generation.context,
    }
    return {
        "merged": source.digest,
        "runtime": source.runtime,
        "quantisations": ",".join(project.benchmark.quantisations),
        "served": provenance.digest(served),
    }


def _records(project: Project) -> Path:
    """Where each finished file has its own manifest, which lets a killed run resume."""
    return project.paths.gguf / ".made"


def _make_files(project: Project, source: _Source) -> dict[str, Any]:
    """Make the files that are not there yet; returns the manifest's facts."""
    quantisations = project.benchmark.quantisations
    missing = [name for name in quantisations if not _is_made(project, source, name, gguf_path(project, name))]
    wanted = [name for name in FLOATS if name in missing] + [name for name in missing if name not in FLOATS]
    spare = project.paths.gguf / ".source-f16.gguf"
    origin = next((name for name in FLOATS if name in quantisations), None)
    if origin is None and wanted:
        origin = "f16"
        if not _is_made(project, source, "source-f16", spare):
            _convert(project, source, "f16", spare, record="source-f16")
    require_space(project.paths.gguf, int(sum(SIZES[name] for name in wanted) * source.size), "converting to GGUF")
    for name in wanted:
        if name in FLOATS:
            _convert(project, source, name, gguf_path(project, name), record=name)
        else:
            start = gguf_path(project, origin) if origin in quantisations else spare
            _quantise(project, source, name, start)
    spare.unlink(missing_ok=True)
    return {"runtime": source.runtime, "made": wanted, "eos_token_ids": list(source.eos_ids)}


def _is_made(project: Project, source: _Source, record: str, path: Path) -> bool:
    return path.is_file() and sealed.is_current(_records(project) / f"{record}.json", _made_from(source, record))


def _made_from(source: _Source, record: str) -> dict[str, str]:
    return {"merged": source.digest, "runtime": source.runtime, "file": record}


def _convert(project: Project, source: _Source, name: str, target: Path, *, record: str) -> None:
    converter = find_converter(project)
    temporary = _temporary(target)
    run_python(
        [
            str(converter.script),
            str(source.folder),
            "--outfile",
            str(temporary),
            "--outtype",
            name,
            "--model-name",
            project.task.task_name,
        ],
        label=f"converting to {name}",
        file=target.name,
        pythonpath=str(converter.library),
        grows=temporary,
        expected=int(SIZES[name] * source.size),
    )
    _accept(project, source, name, temporary, target, record)


def _quantise(project: Project, source: _Source, name: str, start: Path) -> None:
    target = gguf_path(project, name)
    temporary = _temporary(target)
    threads = limit().count
    run_python(
        ["-m", "finetune.export.quantise", str(start.resolve()), str(temporary), name, str(threads), str(os.getpid())],
        label=f"quantising to {name}",
        file=target.name,
        pythonpath=import_paths(),
        grows=temporary,
        expected=int(SIZES[name] * source.size),
    )
    _accept(project, source, name, temporary, target, name)


def _temporary(target: Path) -> Path:
    return target.resolve().with_name(f".{target.name.lstrip('.')}.{os.getpid()}.tmp")


def _accept(project: Project, source: _Source, name: str, temporary: Path, target: Path, record: str) -> None:
    """Read the file back, give it its name, and record what it was made from."""
    try:
        check_gguf(temporary, quantisation=name, template=source.template, eos_ids=source.eos_ids, shown=target.name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, target)
    provenance.write_manifest(
        _records(project) / f"{record}.json",
        step=f"gguf {record}",
        inputs=_made_from(source, record),
        outputs=[target],
        facts={},
    )


def _write_ollama(project: Project, source: _Source) -> list[Path]:
    from finetune.export.ollama import write_ollama_files

    quantisations = project.benchmark.quantisations
    default = next((name for name in DEFAULTS if name in quantisations), quantisations[-1])
    return write_ollama_files(project, gguf_path(project, default), source.eos_ids)


def _remove_stale(folder: Path, kept: set[str]) -> None:
    """Files that an earlier configuration made; they would be published beside the new ones."""
    earlier = provenance.read_manifest(folder / provenance.MANIFEST) or provenance.NO_MANIFEST
    for name in earlier.outputs:
        path = folder / name
        if path.suffix == ".gguf" and path.name not in kept and path.parent == folder:
            path.unlink(missing_ok=True)
