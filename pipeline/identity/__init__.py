"""From embeddings to names: search, open-set decision, hysteresis."""
