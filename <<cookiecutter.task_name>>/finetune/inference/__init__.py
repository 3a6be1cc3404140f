"""Use of a model that is there: answers for a file, for a text, for a line typed at a prompt. Nothing imports it."""
