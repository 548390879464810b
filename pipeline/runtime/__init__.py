"""Bounded queues, workers and supervision; knows nothing of faces."""
