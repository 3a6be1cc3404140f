"""Adapter → merged model and GGUF files, re-scored on the same test set."""
