"""train.yml: candidate → frozen input → adapter → verdict by main's thresholds → evaluation comment."""
