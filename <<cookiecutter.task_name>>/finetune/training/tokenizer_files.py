"""configs/tokenizer/ from the base model's side: written from it, and compared with it before a training run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec

from finetune import provenance
from finetune.config.project import Project
from finetune.console import say
from finetune.data.tokens.base_tokenizer import BaseTokenizer, tokenizer_on_disk
from finetune.data.tokens.committed_tokenizer import FILES, REFRESH, committed_fault
from finetune.errors import OK, FinetuneError, Problems, StorageFault
from finetune.training.base_download import download
from finetune.training.base_model import PACKAGED, BaseModel, resolve_base

STEP = "fetch_tokenizer"


def fetch_tokenizer(project: Project) -> int:
    """Write configs/tokenizer from the base model on this disk, else from the Hub, without the model's weights.

    Raises FinetuneError (E301 no local model, E246 no tokenizer.json) and StorageFault as `resolve_base` does.
    """
    base = project.training.base_model
    found = tokenizer_on_disk(project)
    if found or base.id.startswith("models/base/"):
        return write_tokenizer(project, found.folder if found else resolve_base(project).path)
    say(f"  fetching the tokenizer of {base.id} at {base.revision[:12]} from the Hub, without the weights")
    with tempfile.TemporaryDirectory() as name:
        # Not into the Hub's cache: a snapshot without weights there would pass for the model.
        try:
            folder = Path(download(base.id, base.revision, patterns=list(FILES), folder=Path(name)))
        except StorageFault:
            if base.id not in PACKAGED:
                raise
            folder = resolve_base(project).path
        return write_tokenizer(project, folder)


def write_tokenizer(project: Project, source: Path) -> int:
    """Write configs/tokenizer from the files in `source`, which are those of the configured base model.

    Raises FinetuneError (E246) where there is no tokenizer.json.
    """
    target, base = project.paths.tokenizer, project.training.base_model
    shown = project.paths.relative(target)
    if not (source / FILES[0]).is_file():
        fix = "choose a base model whose repository has one; the checks of its tokens are skipped without"
        raise FinetuneError(f"{base.id} has no {FILES[0]}", fix, code="E246")
    sums = {name: provenance.sha256(source / name) for name in FILES if (source / name).is_file()}
    manifest = provenance.read_manifest(target / provenance.MANIFEST)
    if (
        manifest
        and not committed_fault(project)
        and {name: file.sha256 for name, file in manifest.outputs.items()} == sums
    ):
        say(f"{shown} is up to date")
        return OK
    with provenance.staged(target) as folder:
        for name in sums:
            shutil.copyfile(source / name, folder / name)
        # A model that a package stands in for is found under the configured revision, and says what it is.
        own = provenance.read_manifest(source / provenance.MANIFEST)
        made_of = own.facts.get("revision", base.revision) if own else base.revision
        facts = {"id": base.id, "revision": base.revision, "made_of": made_of}
        outputs = [folder / name for name in sums]
        provenance.write_manifest(folder / provenance.MANIFEST, step=STEP, inputs={}, outputs=outputs, facts=facts)
    say(f"wrote {shown} ({', '.join(sums)}) of {base.id} at {base.revision[:12]}; commit it")
    return OK


def compare_committed(project: Project, base: BaseModel, problems: Problems) -> tuple[bool, str] | None:
    """A line of preflight (good, text), or None where there is nothing to compare.

    Adds W244 for files of another model, W245 where only the tokenizer differs in bytes, and E245 where control tokens
    or chat template differ: then the checks of the data looked for other tokens than those that the model obeys.
    """
    folder = project.paths.tokenizer
    if not folder.exists() or (project.smoke and committed_fault(project)):  # smoke runs train another model
        return None
    shown = project.paths.relative(folder)
    if fault := committed_fault(project):
        problems.add(shown, "W244", f"not used: {fault}", REFRESH)
        return True, f"{shown} is not of this base model"
    committed, loaded = BaseTokenizer(folder), BaseTokenizer(base.path)
    try:
        same = committed.template == loaded.template and committed.control_tokens == loaded.control_tokens
    except (OSError, UnicodeError, msgspec.MsgspecError):
        same = False
    if not same:
        message = f"its control tokens or chat template are not those of {base.id} ({base.source})"
        problems.add(shown, "E245", message, REFRESH)
        return False, f"{shown} differs from the base model"
    if provenance.sha256(folder / FILES[0]) != provenance.sha256(base.path / FILES[0]):
        message = f"{FILES[0]} is written otherwise than in {base.id} ({base.source}); lengths may have been miscounted"
        problems.add(shown, "W245", message, REFRESH)
        return True, f"{shown} has the base model's control tokens and template, not its bytes"
    return True, f"{shown} is that of the base model"
