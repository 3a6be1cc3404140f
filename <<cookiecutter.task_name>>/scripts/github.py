"""One step of a workflow: python scripts/github.py SUBCOMMAND; without one it lists them."""

from finetune.github.cli import app

if __name__ == "__main__":
    app()
