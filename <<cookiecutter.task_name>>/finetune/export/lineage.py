"""Adapter → merged model → GGUF files → report: is each one made from the one that lies before it now?

Every step that reads one of them checks the whole chain up to it, before anything is loaded, and names the first link
that is outdated with the command that makes it anew.
"""

from __future__ import annotations

from finetune import provenance, sealed
from finetune.config.project import Project
from finetune.errors import FinetuneError
from finetune.export.merge import merge_inputs
from finetune.export.safety import refuse_code

_CHANGED = {
    "adapter": "the adapter",
    "base": "the base model",
    "max_new_tokens": "output.max_new_tokens",
    "merged": "the merged model",
    "runtime": "llama-cpp-python",
    "quantisations": "the list of quantisations",
    "served": "the system prompt, the template or the limits of answer and context",
}


def require_merged(project: Project) -> provenance.Manifest:
    """The manifest of a merged model that is whole and made from the adapter and base that lie here.

    Raises FinetuneError: E504 for none, E510 for one that carries code, E505 for changed files, E311 for an outdated
    one, and what `require_adapter` raises for the adapter before it.
    """
    from finetune.training.adapter import require_adapter
    from finetune.training.base_model import resolve_base

    folder, redo = project.paths.merged, "run scripts/05_merge_adapter.py"
    shown = project.paths.relative(folder)
    manifest = provenance.read_manifest(folder / provenance.MANIFEST)
    if manifest is None:
        raise FinetuneError(f"no merged model in {shown}", f"{redo} first", "E504")
    refuse_code(folder, shown)
    if faults := sealed.faults(folder / provenance.MANIFEST):
        raise FinetuneError(f"{shown} is not as the merge left it: {'; '.join(faults)}", f"{redo} --force", "E505")
    base = resolve_base(project)  # last: it may have to be downloaded
    require_adapter(project, base)
    _require_same(shown, manifest.inputs, merge_inputs(project, base), redo, "E311")
    return manifest


def require_gguf(project: Project, inputs: dict[str, str]) -> None:
    """Raise FinetuneError unless models/gguf was made from `inputs`: E312 for outdated files, E316 for changed ones."""
    folder, redo = project.paths.gguf, "run scripts/06_convert_gguf.py"
    shown = project.paths.relative(folder)
    manifest = provenance.read_manifest(folder / provenance.MANIFEST)
    if manifest is None:
        raise FinetuneError(f"no finished GGUF files in {shown}", f"{redo} first", "E316")
    _require_same(shown, manifest.inputs, inputs, redo, "E312")
    # By size only: each file's bytes are named beside its predictions, and compared before it is published.
    if faults := sealed.faults(folder / provenance.MANIFEST, hashed=False):
        raise FinetuneError(f"{shown} is not as it was made: {'; '.join(faults)}", redo, "E316")


def _require_same(shown: str, before: dict[str, str], now: dict[str, str], redo: str, code: str) -> None:
    changed = [_CHANGED.get(name, name) for name in {**now, **before} if now.get(name) != before.get(name)]
    if changed:
        raise FinetuneError(f"{shown} is outdated: {' and '.join(changed)} changed since", redo, code)
