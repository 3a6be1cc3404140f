"""One way to ask a model for answers, whatever file it lives in: base, adapter, merged model or GGUF.

    backend = open_backend(project, "adapter")      # zero_shot, adapter, merged, f16, Q8_0, Q4_K_M …
    for completion in backend.generate(conversations, max_new_tokens=16): …

Every backend renders the same messages by its own artefact's chat template and decodes greedily until an EOS token or
the cap, so a difference between two scores is a difference between two artefacts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config.project import Project
from finetune.console import resolved
from finetune.errors import FinetuneError
from finetune.evaluation.completions import Backend, Completion, Message
from finetune.threads import Adapting

if TYPE_CHECKING:
    from finetune.training.base_model import BaseModel

ZERO_SHOT, ADAPTER, MERGED = "zero_shot", "adapter", "merged"


class TransformersBackend:
    """The base model, with an adapter or without, or a merged model, run by transformers in shared-prefix batches.

    `model_dir` is a complete merged model with its own tokenizer. Otherwise `base` is loaded as training loads it
    (QLoRA: in 4 bits) and `adapter_dir`, when given, is applied unmerged.
    """

    def __init__(
        self,
        name: str,
        base: BaseModel | None,
        model_dir: Path | None = None,
        adapter_dir: Path | None = None,
        *,
        project: Project,
    ) -> None:
        from finetune.data.chat_format import template_options
        from finetune.evaluation.decoding import KeptPrefix

        self.name = name
        self._batch_size = project.benchmark.generation.batch_size
        self._options = template_options(project.training)
        self._model, self._tokenizer = _load(base, model_dir, adapter_dir, project)
        self._eos_ids = eos_ids(self._model, self._tokenizer)
        self._kept = KeptPrefix()

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        from finetune.data.chat_format import encode_prompt

        return encode_prompt(self._tokenizer, list(messages), self._options)

    def generate(self, conversations: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterator[Completion]:
        from finetune.evaluation.decoding import greedy_decode

        prompts = [self.prompt_ids(messages) for messages in conversations]
        threads = Adapting()
        threads.look(soon=True)
        for decoded in greedy_decode(
            self._model,
            prompts,
            eos_ids=self._eos_ids,
            max_new_tokens=max_new_tokens,
            batch_size=self._batch_size,
            kept=self._kept,
        ):
            text = self._tokenizer.decode(decoded.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            threads.look()
            written = len(decoded.tokens) + decoded.finished
            yield Completion(text, written, decoded.seconds, decoded.finished, decoded.confidence)

    def close(self) -> None:
        from finetune.evaluation.decoding import free_memory

        del self._model, self._kept
        free_memory()


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends an answer: generation config, model config and tokenizer may each name others."""
    found: set[int] = set()
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        value = getattr(source, "eos_token_id", None)
        found.update(value if isinstance(value, (list, tuple)) else [] if value is None else [value])
    return frozenset(found)


def gguf_path(project: Project, quantisation: str) -> Path:
    """Where step 06 puts this quantisation."""
    return project.paths.gguf / f"{project.task.task_name}-{quantisation}.gguf"


def artefact_path(project: Project, artefact: str) -> Path | None:
    """Where an artefact lies (None for zero_shot); FinetuneError when the step that makes it has not run."""
    paths = project.paths
    if artefact == ZERO_SHOT:
        return None
    if artefact == ADAPTER:
        path, proof, step = paths.adapter, paths.adapter / "adapter_config.json", "03_train.py"
    elif artefact == MERGED:
        path, proof, step = paths.merged, paths.merged / "config.json", "05_merge_adapter.py"
    else:
        path = proof = gguf_path(project, artefact)
        step = "06_convert_gguf.py"
    if not proof.is_file():
        step += " --smoke" if project.smoke else ""
        raise FinetuneError(f"no {artefact} in {paths.relative(path)}", f"run scripts/{step} first", "E401")
    return path


def open_backend(project: Project, artefact: str) -> Backend:
    """Load one artefact of the project: zero_shot, adapter, merged, or a quantisation name of its GGUF files."""
    path = artefact_path(project, artefact)
    if artefact == MERGED:
        _require_whole_merged(project)
        return TransformersBackend(artefact, None, model_dir=path, project=project)
    if artefact in (ZERO_SHOT, ADAPTER):
        from finetune.training.adapter import require_loadable
        from finetune.training.base_model import resolve_base

        if artefact == ADAPTER:
            require_loadable(project)
        return TransformersBackend(artefact, resolve_base(project), adapter_dir=path, project=project)
    from finetune.evaluation.llama_backend import LlamaCppBackend

    assert path is not None
    return LlamaCppBackend(artefact, path, project)


def _require_whole_merged(project: Project) -> None:
    from finetune.training.model_files import faults

    if found := faults(project.paths.merged):
        shown = project.paths.relative(project.paths.merged)
        fix = "run scripts/05_merge_adapter.py --force"
        raise FinetuneError(f"{shown} cannot be loaded: {'; '.join(found)}", fix, "E315")


def _load(
    base: BaseModel | None, model_dir: Path | None, adapter_dir: Path | None, project: Project
) -> tuple[Any, Any]:
    from finetune.training.base_model import load_tokenizer, load_weights, quantisation, quiet, resolve_device

    quiet()
    training = project.training
    device, dtype, reason = resolve_device(training)
    resolved("dtype", str(dtype).removeprefix("torch."), f"{device}: {reason}")
    if model_dir is not None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(
            model_dir, dtype=dtype, attn_implementation="sdpa", local_files_only=True
        )
        return model.to(device).eval(), tokenizer
    if base is None:
        raise ValueError("TransformersBackend needs a base model or a merged model's folder")
    model = load_weights(base, dtype=dtype, device=device, quantization=quantisation(training, dtype))
    if adapter_dir is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter_dir)
    return model.eval(), load_tokenizer(base)
