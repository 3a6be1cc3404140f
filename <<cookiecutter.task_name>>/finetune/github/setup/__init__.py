"""scripts/setup_github.py: what GitHub has to be set to, and whether it is."""
