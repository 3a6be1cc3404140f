"""Real model families through the whole pipeline: `make test-families`."""
