"""configs/tokenizer/: the base model's small files in git, for the checks of jobs that have no model on their disk.

The folder speaks only for the model that its manifest names. Whoever changes the base model fetches it anew.
"""

from __future__ import annotations

from pathlib import Path

from finetune.config.project import Project
from finetune.data.text_rules import shown
from finetune.provenance import MANIFEST, read_manifest
from finetune.sealed import deviations

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")
"""All that may lie there beside the manifest; the first one always does."""
REFRESH = "run python scripts/fetch_tokenizer.py and commit configs/tokenizer"


def committed_folder(project: Project) -> Path | None:
    """configs/tokenizer where it is there, whole, and of the configured base model."""
    folder = project.paths.tokenizer
    return folder if folder.is_dir() and not committed_fault(project) else None


def committed_fault(project: Project) -> str:
    """Why configs/tokenizer cannot be used; empty where it can, or is not there at all."""
    folder, base = project.paths.tokenizer, project.training.base_model
    if not folder.exists() and not folder.is_symlink():
        return ""
    manifest = None if folder.is_symlink() else read_manifest(folder / MANIFEST)
    if manifest is None:
        return "its manifest.json is missing or damaged"
    facts, outputs = manifest.facts, manifest.outputs
    named = (facts.get("id"), facts.get("revision"))
    if named != (base.id, base.revision):
        return (
            f"the files are those of {shown(str(named[0]))} at {shown(str(named[1])[:12])}, "
            f"the base model is {shown(base.id)} at {shown(base.revision[:12])}"
        )
    if FILES[0] not in outputs:
        return f"it has no {FILES[0]}"
    if strange := sorted(outputs.keys() - set(FILES)):
        return f"{shown(strange[0])} is no file of a tokenizer"
    for found in deviations(folder, outputs, beside=[MANIFEST]):
        if found.name.startswith(".") and found.kind == "unlisted":
            continue  # what a desktop or an editor leaves in any folder
        if found.kind in ("changed", "size"):
            return f"{found.name} has other bytes than its manifest says"
        name = found.name if found.name in FILES else shown(found.name)
        return f"{name} is no file of its manifest"
    return ""
