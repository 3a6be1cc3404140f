"""One step of a workflow: python scripts/github.py SUBCOMMAND; without one it lists them."""

import _start  # noqa: F401 (first: it finds finetune)

from finetune.github.cli import app

if __name__ == "__main__":
    app()
