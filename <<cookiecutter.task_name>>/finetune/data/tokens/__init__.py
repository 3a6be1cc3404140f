"""The base model's tokenizer over the data, without torch: control tokens, lengths, and where to get it."""
