"""The parity gates: what an engine must show on real faces before it serves."""
