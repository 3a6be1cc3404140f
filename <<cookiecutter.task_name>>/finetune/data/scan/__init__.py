"""Reading raw data fast: chunks, workers, the checks of every row in one pass, near duplicates."""
