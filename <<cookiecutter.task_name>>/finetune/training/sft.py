"""TRL's SFTTrainer with our batches: the loss is the exact mean over answer tokens, whatever the batching."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerState
from trl import SFTConfig, SFTTrainer

from finetune.config.training import TrainingConfig
from finetune.training.batches import loss_sum
from finetune.training.checkpoints import best_of
from finetune.training.dataset import EncodedRow


def as_dataset(rows: Sequence[EncodedRow]) -> Dataset:
    """Columns input_ids, prompt_length, weight; one row each."""
    return Dataset.from_dict(
        {
            "input_ids": [list(row.ids) for row in rows],
            "prompt_length": [row.prompt_length for row in rows],
            "weight": [row.weight for row in rows],
        }
    )


class PromptCompletionTrainer(SFTTrainer):
    """SFTTrainer on rows that are tokenised and collated already (see batches.Collator)."""

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Negative log-likelihood per answer token of the whole optimiser step, over all processes."""
        total = loss_sum(model, inputs)
        tokens = inputs["labels"].numel() if num_items_in_batch is None else num_items_in_batch
        loss = total / tokens
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # num_items_in_batch counts every process's tokens and DDP averages the gradients.
            loss = loss * self.accelerator.num_processes
        return loss

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device
    ) -> torch.Tensor:
        """Answer tokens of the whole optimiser step. The Trainer would shift our labels, which are targets already."""
        count = torch.tensor(sum(batch["labels"].numel() for batch in batch_samples), device=device)
        return self.accelerator.reduce(count, reduction="sum")

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean loss per answer token over the validation split; the Trainer's own loop would weigh batches equally."""
        model: Any = self.model
        was_training = model.training
        model.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for batch in self.get_eval_dataloader(eval_dataset):
                inputs = self._prepare_inputs(batch)
                with self.autocast_smart_context_manager():
                    loss = loss_sum(model, inputs)
                sums += torch.tensor([loss.item(), inputs["labels"].numel()], dtype=torch.float64)
        sums = self.accelerator.reduce(sums.to(self.args.device), reduction="sum").cpu()
        model.train(was_training)
        metrics = {f"{metric_key_prefix}_loss": (sums[0] / sums[1]).item()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def take_over(self, checkpoint: Path) -> None:
        """Become what training was at its last step, where only the saving of its best checkpoint was left to do."""
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        model: Any = self.model
        model.load_adapter(str(best_of(checkpoint)), model.active_adapter)


def arguments(
    config: TrainingConfig,
    *,
    output: Path,
    micro_batch: int,
    rows: int,
    device: str,
    dtype: torch.dtype,
    checkpointing: bool,
    processes: int,
) -> SFTConfig:
    """The Trainer's settings for `rows` training rows and `micro_batch` rows in one forward pass."""
    accumulation = max(config.batch.effective // (micro_batch * processes), 1)
    steps_per_epoch = max(-(-rows // (micro_batch * accumulation * processes)), 1)
    every = max(round(steps_per_epoch / config.checkpoints.per_epoch), 1)
    total = max(round(steps_per_epoch * config.optimiser.epochs), 1)
    return SFTConfig(
        output_dir=str(output),
        max_steps=total,
        per_device_train_batch_size=micro_batch,
        per_device_eval_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation,
        learning_rate=config.optimiser.learning_rate,
        lr_scheduler_type=config.optimiser.schedule,
        warmup_steps=round(total * config.optimiser.warmup_ratio),
        weight_decay=config.optimiser.weight_decay,
        max_grad_norm=config.optimiser.max_grad_norm,
        optim="adamw_torch",
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=config.logging_steps,
        logging_first_step=True,
        # By default NaN is logged as 0.0 and dropped from the mean.
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        # Rotation is ours: the Trainer deletes the old checkpoint before the new one is known to be complete.
        save_total_limit=None,
        load_best_model_at_end=True,
        # How often in a row validation did not improve is part of a checkpoint: early stopping counts on.
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        prediction_loss_only=True,
        bf16=device == "cuda" and dtype == torch.bfloat16,
        use_cpu=device == "cpu",
        gradient_checkpointing=checkpointing,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=device == "cuda",
        disable_tqdm=True,
        report_to=[],
        push_to_hub=False,
        ddp_find_unused_parameters=False,
    )
