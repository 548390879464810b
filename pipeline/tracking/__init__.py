"""Tracks: association, fusion of their embeddings, re-identification."""
