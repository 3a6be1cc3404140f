"""What the task is and how it is trained and measured: closed, located, all problems at once."""
