"""Step 05: merge the adapter into the 16-bit base model and write a folder that transformers and vLLM load.

LoRA's update is added to the weights of the base at the pinned revision (Hu et al. 2021, section 4.1), for QLoRA too:
the 4-bit weights were only its training aid. The tokenizer files are the base model's own bytes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune import provenance, sealed
from finetune.config.project import Project
from finetune.console import progress, resolved, say
from finetune.data.tokens.base_tokenizer import BaseTokenizer
from finetune.data.tokens.template_clock import clock, pinned
from finetune.errors import OK, ModelFault
from finetune.export.merged_config import write_config
from finetune.export.safety import CODE_KEYS, refuse_code, require_space

if TYPE_CHECKING:
    import torch

    from finetune.training.base_model import BaseModel

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
SHARD = "5GB"
CLOCK = "clock"
"""The fact that holds what a template is told by each format in which it asks for the date."""


def merge(project: Project, force: bool = False) -> int:
    """Write models/merged from models/adapter and the base model; does nothing when it is up to date.

    Raises FinetuneError for a missing, changed, foreign or outdated adapter (E501, E502, E503, E310), for a broken base
    (E314), and ModelFault (E771) for a weight that is not finite.
    """
    from finetune.training.adapter import read_whole_adapter, require_adapter
    from finetune.training.base_model import require_whole_base, resolve_base

    paths = project.paths
    read_whole_adapter(project)  # before the base model, which may have to be downloaded
    base = resolve_base(project)
    require_whole_base(base)
    require_adapter(project, base)
    inputs = merge_inputs(project, base)
    manifest = paths.merged / provenance.MANIFEST
    if not force and sealed.is_current(manifest, inputs):
        say(f"{paths.relative(paths.merged)} is up to date")
        return OK
    require_space(paths.merged.parent, _bytes(base.path, "*.safetensors"), "the merged model")
    with provenance.staged(paths.merged) as folder:
        facts = _write_merged(project, base, folder)
        refuse_code(folder, paths.relative(paths.merged))
        outputs = sorted(path for path in folder.iterdir() if path.is_file())
        for path in outputs:
            path.chmod(0o644)
        provenance.write_manifest(
            folder / provenance.MANIFEST, step="05_merge_adapter", inputs=inputs, outputs=outputs, facts=facts
        )
    say(f"merged {base.id} and the adapter into {paths.relative(paths.merged)} ({facts['bytes'] / 1e6:.0f} MB)")
    return OK


def merge_inputs(project: Project, base: BaseModel) -> dict[str, str]:
    """Digests of all that determines the merged model."""
    return {
        "adapter": provenance.tree_digest(project.paths.adapter),
        "base": base.fingerprint,
        "max_new_tokens": str(project.task.output.max_new_tokens),
    }


def _write_merged(project: Project, base: BaseModel, folder: Path) -> dict[str, Any]:
    """Model, tokenizer and generation settings; returns the manifest's facts."""
    from peft import PeftModel

    from finetune.evaluation.backends import eos_ids
    from finetune.training.base_model import load_tokenizer, load_weights

    tokenizer = load_tokenizer(base)
    dtype = _dtype(base.path)
    model = load_weights(base, dtype=dtype, device="cpu")
    if project.training.method == "qlora":
        say("  the adapter was trained on 4-bit weights and goes onto the 16-bit ones: step 07 measures the difference")
    say("  merging …")
    # PEFT keeps LoRA matrices in float32 beside 16-bit weights, so only the sum is rounded.
    model = PeftModel.from_pretrained(model, project.paths.adapter).merge_and_unload(progressbar=False)
    _refuse_not_finite(model)
    say("  writing …")
    model.save_pretrained(folder, max_shard_size=SHARD)
    write_config(folder / "config.json", base.path)
    stops = eos_ids(model, tokenizer)
    _copy_tokenizer(base.path, folder)
    _pin_templates(folder)
    _write_generation_config(project, folder, tokenizer, stops)
    return {
        "base": {"id": base.id, "revision": base.revision, "fingerprint": base.fingerprint},
        "method": project.training.method,
        "dtype": str(dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": _bytes(folder, "*.safetensors"),
        "eos_token_ids": sorted(stops),
        CLOCK: clock(BaseTokenizer(base.path).published_template),
    }


def _dtype(base: Path) -> torch.dtype:
    """The base checkpoint's own 16-bit type; bfloat16 for one that was published in 32 bits."""
    import torch

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    published = str(config.get("dtype") or config.get("torch_dtype"))
    dtype = torch.float16 if published == "float16" else torch.bfloat16
    resolved("dtype", str(dtype).removeprefix("torch."), f"the base model is published in {published}")
    return dtype


def _refuse_not_finite(model: torch.nn.Module) -> None:
    import torch

    weights = list(model.state_dict().items())
    bad = [
        name
        for name, weight in progress(weights, "checking weights")
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all())
    ]
    if bad:
        raise ModelFault(
            f"{len(bad)} of {len(weights)} merged weights are not finite, first {bad[0]}",
            "train again with a lower learning rate: scripts/03_train.py --force",
            "E771",
        )


def _copy_tokenizer(base: Path, folder: Path) -> None:
    """The base model's own bytes: tokenizers that transformers saves again may not load elsewhere."""
    for path in folder.iterdir():
        if path.name in TOKENIZER_FILES:
            path.unlink()
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    config = folder / "tokenizer_config.json"
    if config.is_file():
        values = json.loads(config.read_text(encoding="utf-8"))
        if any(key in values for key in CODE_KEYS):  # the one exception: code of the model repository is never shipped
            provenance.write_json(config, {key: value for key, value in values.items() if key not in CODE_KEYS})


def _pin_templates(folder: Path) -> None:
    """The second exception: a template that asks for the date carries the day that training told it."""
    file = folder / "chat_template.jinja"
    if file.is_file() and clock(template := file.read_bytes().decode("utf-8")):
        provenance.write_text(file, pinned(template))
    for name in ("tokenizer_config.json", "chat_template.json"):
        if not (folder / name).is_file():
            continue
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        template = values.get("chat_template")
        if isinstance(template, str):
            standing: Any = pinned(template)
        elif isinstance(template, list):  # several by name
            standing = [{**one, "template": pinned(one["template"])} for one in template]
        else:
            continue
        if standing != template:
            provenance.write_json(folder / name, values | {"chat_template": standing})


def _write_generation_config(project: Project, folder: Path, tokenizer: Any, stops: frozenset[int]) -> None:
    """Greedy decoding as it was measured; the base model's top_p, top_k and penalties are not carried over.

    vLLM takes its defaults from this file and knows no do_sample: only temperature 0 makes it greedy.
    """
    import transformers

    first = [tokenizer.eos_token_id] if tokenizer.eos_token_id in stops else []
    values = {
        "do_sample": False,
        "temperature": 0.0,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": first + sorted(stops - set(first)),
        "pad_token_id": tokenizer.pad_token_id,
        "max_new_tokens": project.task.output.max_new_tokens,
        "transformers_version": transformers.__version__,
    }
    kept = {key: value for key, value in values.items() if value is not None}
    provenance.write_json(folder / "generation_config.json", kept)


def _bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))
