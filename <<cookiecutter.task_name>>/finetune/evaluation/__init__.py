"""Artefact + test set → predictions, metrics, gate, report."""
