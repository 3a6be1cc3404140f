"""Files of other tools → data/raw/NAME.jsonl: recognised by content, mapped, judged as step 01 judges."""
