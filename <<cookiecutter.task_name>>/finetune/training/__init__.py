"""Chat records → LoRA adapter, with exact shared-prefix batches."""
