"""Verified artefacts → three Hugging Face repositories."""
